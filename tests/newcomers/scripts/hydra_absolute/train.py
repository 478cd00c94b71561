import os
from pathlib import Path

import hydra
import lightning.pytorch as pl
from omegaconf import DictConfig

os.environ.setdefault("PROJECT_ROOT", str(Path(__file__).resolve().parent))


@hydra.main(version_base=None, config_path=str(Path(__file__).resolve().parent / "configs"), config_name="train")
def main(cfg: DictConfig):
    pl.seed_everything(3)
    datamodule = hydra.utils.instantiate(cfg.datamodule)
    model = hydra.utils.instantiate(cfg.module)
    trainer = hydra.utils.instantiate(cfg.trainer)
    trainer.fit(model=model, datamodule=datamodule)


if __name__ == "__main__":
    main()
