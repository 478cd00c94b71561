import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

CONFIG = {"seed": 0, "epochs": 3, "batch_size": 32, "lr": 0.1, "max_grad_norm": 1.0, "amp": True}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(32 * 2 * 2, 10)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        return self.fc(x.flatten(1))


def make_loaders(cfg):
    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
    dataset = TensorDataset(images, torch.tensor(bunch.target))
    generator = torch.Generator().manual_seed(cfg["seed"])
    train, val = random_split(dataset, [1400, 397], generator=generator)
    return DataLoader(train, batch_size=cfg["batch_size"], shuffle=True), DataLoader(val, batch_size=397)


class Trainer:
    def __init__(self, model, cfg):
        self.model = model.to(DEVICE)
        self.cfg = cfg
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)
        self.scaler = torch.amp.GradScaler(DEVICE, enabled=cfg["amp"])

    def train_step(self, images, targets):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, dtype=torch.float16, enabled=self.cfg["amp"]):
            loss = self.criterion(self.model(images), targets)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.cfg["max_grad_norm"])
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    @torch.no_grad()
    def validate(self, loader):
        self.model.eval()
        loss = sum(self.criterion(self.model(x.to(DEVICE)), y.to(DEVICE)).item() for x, y in loader) / len(loader)
        self.model.train()
        return loss

    def fit(self, train_loader, val_loader):
        for epoch in range(self.cfg["epochs"]):
            losses = [self.train_step(x.to(DEVICE), y.to(DEVICE)) for x, y in train_loader]
            val_loss = self.validate(val_loader)
            print(f"epoch {epoch}: train {sum(losses) / len(losses):.4f} val {val_loss:.4f}")
        return val_loss


def main(cfg):
    torch.manual_seed(cfg["seed"])
    return Trainer(ConvNet(), cfg).fit(*make_loaders(cfg))


if __name__ == "__main__":
    score = main(CONFIG)
