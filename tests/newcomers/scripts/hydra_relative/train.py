import logging

import hydra
import lightning as L
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

log = logging.getLogger(__name__)


class Classifier(L.LightningModule):
    def __init__(self, cfg: DictConfig):
        super().__init__()
        self.save_hyperparameters()
        self.cfg = cfg
        self.net = nn.Sequential(nn.Linear(8, cfg.width), nn.GELU(), nn.Linear(cfg.width, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        z = self.net(x)
        self.log("val_acc", (z.argmax(-1) == y).float().mean())
        self.log("val_loss", nn.functional.cross_entropy(z, y))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.cfg.lr, momentum=0.9)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    log.info("\n%s", OmegaConf.to_yaml(cfg))
    L.seed_everything(cfg.seed)
    x = torch.randn(480, 8)
    y = x[:, :3].argmax(1)
    train = DataLoader(TensorDataset(x[:384], y[:384]), cfg.batch_size, shuffle=True)
    val = DataLoader(TensorDataset(x[384:], y[384:]), cfg.batch_size)
    trainer = L.Trainer(**cfg.trainer, default_root_dir=hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)
    trainer.fit(Classifier(cfg.model), train, val)
    return trainer.callback_metrics["val_acc"].item()


if __name__ == "__main__":
    main()
