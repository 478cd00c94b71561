"""Training scripts as people post them: what each is an example of, its command line, the packages that it needs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("newcomers") / "scripts"


@dataclass(frozen=True)
class Posted:
    """One script, a file or a folder of them; ``target`` is what is named to ``faultlab init`` there."""

    name: str
    kind: str
    target: str
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    quick_to_build: bool = True
    """Whether a campaign, which builds it a dozen times, is for a test to wait for."""

    def copy_to(self, folder: Path) -> None:
        """Copy what was posted, and nothing that lies beside it."""
        if (whole := FOLDER / self.name).is_dir():
            shutil.copytree(whole, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(FOLDER / f"{self.name}.py", folder)


POSTED = (
    Posted("argparse_required", "argparse, required arguments", "argparse_required.py",
           ("--data", "600", "--lr", "0.05")),
    Posted("fire_script", "fire, a class of commands", "fire_script.py", ("train", "--hidden", "32"), ("fire",)),
    Posted("click_script", "click, a required option", "click_script.py", ("--width", "8")),
    Posted("hydra_relative", "Hydra, relative config path, overrides", "train.py", ("model=large", "seed=3"),
           ("hydra",)),
    Posted("hydra_absolute", "Hydra, absolute path, instantiate, chdir", "train.py", (), ("hydra",)),
    Posted("cli_run", "LightningCLI of the project's own, --config", "main.py",
           ("fit", "--config", "config.yaml", "--model.lr", "0.02"), ("jsonargparse",)),
    Posted("cli_no_run", "LightningCLI with run=False, --config", "train.py", ("--config", "override.yaml"),
           ("jsonargparse",)),
    Posted("config_only", "LightningCLI's config.yaml alone", "config.yaml", (), ("jsonargparse", "tensorboard")),
    Posted("yaml_config", "a config file as accelerate's, read by the script", "train.py",
           ("default_config.yaml", "batch_size=16")),
    Posted("notebook", "a notebook exported as a script", "notebook.py"),
    Posted("kfold", "a loop over folds", "kfold.py"),
    Posted("optuna_objective", "an Optuna study in a database", "optuna_objective.py", (), ("optuna",)),
    Posted("ddp_flags", "two GPUs, DDP, half precision, workers", "ddp_flags.py"),
    Posted("main_variants", "`\"__main__\" == __name__ and ...`, pickled classes", "main_variants.py", ("600",)),
    Posted("package", "relative imports: python -m shapes.train", "shapes/train.py"),
    Posted("wandb_offline", "Weights & Biases, offline", "wandb_offline.py", (), ("wandb",)),
    Posted("several_trainers", "two modules and two Trainers", "several_trainers.py"),
    Posted("typer_app", "typer, everything inside the command", "typer_app.py",
           ("train", "runs/a/weights.ckpt", "--optimizer", "sgd"), ("typer",)),
    Posted("absl_flags", "absl, a required flag", "absl_flags.py", ("--learning_rate=0.01",), ("absl",)),
    Posted("dataclass_config", "simple-parsing, dataclasses, a registry", "dataclass_config.py",
           ("--batch_size", "20"), ("simple_parsing",)),
    Posted("tensorboard_images", "TensorBoard, images logged in the step", "tensorboard_images.py", (),
           ("tensorboard",)),
    Posted("dotenv_env", "settings from .env and the environment", "train.py", (), ("dotenv",)),
    Posted("beside_file", "chdir to its own folder, a table there", "train.py"),
    Posted("workers", "spawned processes, pickled results, loader workers", "workers.py", quick_to_build=False),
    Posted("jsonargparse_function", "jsonargparse on a function", "jsonargparse_function.py",
           ("mlp", "--epochs", "3"), ("jsonargparse",)),
)  # fmt: skip
