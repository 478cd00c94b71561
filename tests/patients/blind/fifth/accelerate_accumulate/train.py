import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def get_dataloaders(batch_size):
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x))
    x = torch.tensor(x / 16, dtype=torch.float32)[order]
    y = torch.tensor(y)[order]
    train = TensorDataset(x[:1280], y[:1280])
    val = TensorDataset(x[1280:], y[1280:])
    return DataLoader(train, batch_size=batch_size, shuffle=True), DataLoader(val, batch_size=256)


def get_model():
    return nn.Sequential(
        nn.Linear(64, 64),
        nn.LayerNorm(64),
        nn.GELU(),
        nn.Linear(64, 10),
    )


def evaluate(accelerator, model, dataloader):
    model.eval()
    total = count = 0
    for x, y in dataloader:
        with torch.no_grad():
            logits = model(x)
        logits, y = accelerator.gather_for_metrics((logits, y))
        total += nn.functional.cross_entropy(logits, y, reduction="sum").item()
        count += len(y)
    return total / count


def train(num_epochs=6, batch_size=8, gradient_accumulation_steps=8, lr=0.2, seed=0):
    set_seed(seed)
    accelerator = Accelerator(gradient_accumulation_steps=gradient_accumulation_steps, cpu=True)
    train_dataloader, val_dataloader = get_dataloaders(batch_size)
    model = get_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    model, optimizer, train_dataloader, val_dataloader = accelerator.prepare(
        model, optimizer, train_dataloader, val_dataloader
    )
    criterion = nn.CrossEntropyLoss()

    for epoch in range(num_epochs):
        model.train()
        for x, y in train_dataloader:
            with accelerator.accumulate(model):
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                accelerator.backward(loss)
                optimizer.step()
        val_loss = evaluate(accelerator, model, val_dataloader)
        accelerator.print(f"epoch {epoch}: val loss {val_loss:.4f}")
    return val_loss


if __name__ == "__main__":
    score = train()
