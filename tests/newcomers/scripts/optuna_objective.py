import lightning.pytorch as pl
import optuna
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 5
BATCHSIZE = 20


class Net(pl.LightningModule):
    def __init__(self, dropout, sizes, lr):
        super().__init__()
        layers, d = [], 10
        for size in sizes:
            layers += [nn.Linear(d, size), nn.ReLU(), nn.Dropout(dropout)]
            d = size
        self.net = nn.Sequential(*layers, nn.Linear(d, 2))
        self.lr = lr

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.cross_entropy(self(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_acc", (self(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def objective(trial: optuna.trial.Trial) -> float:
    n_layers = trial.suggest_int("n_layers", 1, 3)
    sizes = [trial.suggest_int(f"n_units_l{i}", 4, 64, log=True) for i in range(n_layers)]
    model = Net(trial.suggest_float("dropout", 0.0, 0.3), sizes, trial.suggest_float("lr", 1e-3, 1e-1, log=True))
    x = torch.randn(500, 10)
    y = (x[:, :2].sum(1) > 0).long()
    train, val = TensorDataset(x[:400], y[:400]), TensorDataset(x[400:], y[400:])
    trainer = pl.Trainer(
        logger=True, enable_checkpointing=False, max_epochs=EPOCHS, accelerator="auto", devices=1,
    )
    trainer.logger.log_hyperparams(trial.params)
    trainer.fit(model, DataLoader(train, BATCHSIZE, shuffle=True), DataLoader(val, BATCHSIZE))
    return trainer.callback_metrics["val_acc"].item()


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(), storage="sqlite:///study.db", load_if_exists=True, study_name="net")
    study.optimize(objective, n_trials=20, timeout=600)
    print(study.best_trial.params)
