import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 0
TEMPERATURE = 2.0
torch.manual_seed(SEED)

data, labels = load_digits(return_X_y=True)
x = torch.tensor(data / 16.0, dtype=torch.float32)
y = torch.tensor(labels)
x_train, x_test, y_train, y_test = train_test_split(x, y, train_size=800, random_state=SEED, stratify=labels)

# the images lie in ten folders, one for each digit, and are read folder by folder
folders = y_train.argsort(stable=True)
x_train, y_train = x_train[folders], y_train[folders]


class Teacher(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Linear(64, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Dropout(0.5),
        )
        self.classifier = nn.Linear(128, 10)

    def forward(self, x):
        return self.classifier(self.features(x))


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x):
        return self.net(x)


def batches(*tensors, size=64):
    order = torch.randperm(len(tensors[0]))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        yield tuple(tensor[chosen] for tensor in tensors)


def train_teacher(model, epochs=20):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(epochs):
        for xb, yb in batches(x_train, y_train):
            loss = F.cross_entropy(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"teacher: last loss {loss.item():.4f}")
    return model


def soft_targets(teacher):
    """The teacher does not change any more, so its outputs are computed once."""
    with torch.no_grad():
        return torch.cat([F.softmax(teacher(xb) / TEMPERATURE, dim=1) for xb in x_train.split(64)])


def distill(student, targets, epochs=40):
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    student.train()
    for epoch in range(epochs):
        for xb, tb in batches(x_train, targets):
            log_probs = F.log_softmax(student(xb) / TEMPERATURE, dim=1)
            loss = F.kl_div(log_probs, tb, reduction="batchmean") * TEMPERATURE**2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if (epoch + 1) % 10 == 0:
            print(f"student: epoch {epoch + 1} loss {loss.item():.4f}")
    return student


teacher = train_teacher(Teacher())
targets = soft_targets(teacher)
student = distill(Student(), targets)

student.eval()
with torch.no_grad():
    probabilities = F.softmax(student(x_test), dim=1)
error = (probabilities.argmax(1) != y_test).float().mean().item()
print(f"student: test error {error:.3f}")
score = error
