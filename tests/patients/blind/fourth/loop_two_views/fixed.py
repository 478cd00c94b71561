import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset

SEED = 0
torch.manual_seed(SEED)


class TwoViews(Dataset):
    """Upper rows of a digit as the image, lower rows as the context."""

    def __init__(self, images, targets):
        self.images = torch.tensor(images / 16, dtype=torch.float32)
        self.targets = torch.tensor(targets)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, idx):
        image = self.images[idx]
        return image[:4].flatten(), image[4:].flatten(), self.targets[idx]


class FusionBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU())
        self.res_gate = nn.Sequential(
            nn.Linear(dim, dim, bias=False),
            nn.ReLU(),
            nn.Linear(dim, dim, bias=False),
            nn.Tanh(),
        )
        self.init_weights()

    def init_weights(self):
        nn.init.xavier_uniform_(self.proj[0].weight)
        nn.init.zeros_(self.res_gate[2].weight)

    def forward(self, x, context):
        residual = self.proj(torch.cat([x, context], dim=-1))
        return x + self.res_gate(residual) * residual


class Model(nn.Module):
    def __init__(self, dim=48, depth=2):
        super().__init__()
        self.image_embed = nn.Linear(32, dim)
        self.context_embed = nn.Linear(32, dim)
        self.blocks = nn.ModuleList([FusionBlock(dim) for _ in range(depth)])
        self.mlps = nn.ModuleList([nn.Sequential(nn.Linear(dim, dim), nn.ReLU()) for _ in range(depth)])
        self.classifier = nn.Linear(dim, 10)

    def forward(self, image, context):
        x = torch.relu(self.image_embed(image))
        c = torch.relu(self.context_embed(context))
        for block, mlp in zip(self.blocks, self.mlps):
            x = block(x, c)
            x = x + mlp(x)
        return self.classifier(x)


digits = load_digits()
x_train, x_test, y_train, y_test = train_test_split(
    digits.images, digits.target, test_size=0.25, random_state=SEED, stratify=digits.target
)
train_loader = DataLoader(TwoViews(x_train, y_train), batch_size=32, shuffle=True)
test_loader = DataLoader(TwoViews(x_test, y_test), batch_size=256)

model = Model()
optimizer = optim.AdamW(model.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss()

for epoch in range(15):
    model.train()
    total = 0.0
    for image, context, target in train_loader:
        loss = criterion(model(image, context), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    if epoch % 3 == 2:
        print(f"epoch {epoch + 1}: {total / len(train_loader):.4f}")

model.eval()
correct = 0
with torch.no_grad():
    for image, context, target in test_loader:
        correct += (model(image, context).argmax(1) == target).sum().item()
score = 1 - correct / len(test_loader.dataset)
print(f"test accuracy {1 - score:.4f}")
