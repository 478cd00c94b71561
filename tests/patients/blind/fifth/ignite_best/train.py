import tempfile

import torch
import torch.nn as nn
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import Checkpoint, DiskSaver
from ignite.metrics import Accuracy, Loss
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def prepare_data(batch_size=32):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    y = torch.tensor(y)
    x_train, x_rest, y_train, y_rest = train_test_split(x, y, train_size=1000, random_state=3)
    x_val, x_test, y_val, y_test = train_test_split(x_rest, y_rest, test_size=400, random_state=3)
    train = DataLoader(TensorDataset(x_train, y_train), batch_size=batch_size, shuffle=True)
    val = DataLoader(TensorDataset(x_val, y_val), batch_size=256)
    test = DataLoader(TensorDataset(x_test, y_test), batch_size=256)
    return train, val, test


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 128)
        self.drop = nn.Dropout(0.2)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        return self.fc2(self.drop(torch.relu(self.fc1(x))))


train_loader, val_loader, test_loader = prepare_data()
model = Classifier()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()

trainer = create_supervised_trainer(model, optimizer, criterion)
evaluator = create_supervised_evaluator(model, metrics={"accuracy": Accuracy(), "loss": Loss(criterion)})
folder = tempfile.mkdtemp()
best_model_handler = Checkpoint(
    {"model": model},
    DiskSaver(folder, require_empty=False),
    filename_prefix="best",
    n_saved=1,
    score_name="loss",
    score_function=Checkpoint.get_default_score_fn("loss"),
    global_step_transform=lambda *_: trainer.state.epoch,
)
evaluator.add_event_handler(Events.COMPLETED, best_model_handler)


@trainer.on(Events.EPOCH_COMPLETED)
def validate(engine):
    state = evaluator.run(val_loader)
    if engine.state.epoch % 4 == 0:
        print(f"epoch {engine.state.epoch}: {state.metrics}")


trainer.run(train_loader, max_epochs=16)

checkpoint = torch.load(best_model_handler.last_checkpoint)
model.load_state_dict(checkpoint)
tester = create_supervised_evaluator(model, metrics={"accuracy": Accuracy(), "loss": Loss(criterion)})
metrics = tester.run(test_loader).metrics
print("best checkpoint:", best_model_handler.last_checkpoint, "test:", metrics)
score = metrics["loss"]
