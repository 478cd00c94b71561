"""Training loops without Lightning, as people post them: the shape of each, and what `faultlab init` finds in it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("newcomers") / "loops"


@dataclass(frozen=True)
class PostedLoop:
    """One script, a file or a folder with ``train.py``, and what is right about its training.

    ``root`` is the class with the most parameters among those that train, ``monitor`` the metric that measures harm,
    empty where the script reports none.
    """

    name: str
    shape: str
    root: str
    steps: int
    monitor: str
    arguments: tuple[str, ...] = ()
    needs: str = ""

    @property
    def target(self) -> str:
        """The file that is named to ``faultlab init``."""
        return "train.py" if (FOLDER / self.name).is_dir() else f"{self.name}.py"

    def copy_to(self, folder: Path) -> None:
        """Copy what was posted, and nothing that lies beside it."""
        if (whole := FOLDER / self.name).is_dir():
            shutil.copytree(whole, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(FOLDER / f"{self.name}.py", folder)


POSTED_LOOPS = (
    PostedLoop("digits_main", "argparse, functions that train and test", "ConvNet", 88, "accuracy"),
    PostedLoop("gan", "a GAN at module level", "Generator", 87, "loss_d"),
    PostedLoop("char_lm", "a language model, batches out of a tensor", "LanguageModel", 150, "val_loss"),
    PostedLoop("vae", "argparse at module level, arrays written each epoch", "VAE", 60, "test_set_loss"),
    PostedLoop("dqn", "a replay memory and a target network", "DQN", 152, ""),
    PostedLoop("kfold_cfg", "folds, a class of settings", "Model", 33, "avg_val_loss"),
    PostedLoop("early_stop", "early stopping, metrics by logging, sys.exit", "Net", 108, "valid_loss"),
    PostedLoop("amp_trainer", "a Trainer class, autocast, accumulation, tqdm", "TabNet", 93, "val_loss"),
    PostedLoop("notebook_transfer", "a notebook, a frozen backbone, loaders in a dict", "Sequential", 135, "val_loss"),
    PostedLoop("tagger_click", "click, packed sequences", "BiLSTM", 100, "dev_acc", ("-o", "out"), "click"),
    PostedLoop("engine_split", "a script that trains by a module beside it", "TinyVGG", 96, "test_loss"),
    PostedLoop("wgan_gp", "a critic with a gradient penalty", "Critic", 100, "d_loss"),
    PostedLoop("simclr_fire", "fire, two views of a batch", "Encoder", 12, "probe_accuracy", (), "fire"),
    PostedLoop("ddpm_ema", "diffusion, endless batches, averaged weights", "GaussianDiffusion", 240, ""),
    PostedLoop("gcn_full", "one graph, no loader", "GCN", 60, "loss_val"),
    PostedLoop("reinforce_gym", "policy gradients", "Policy", 60, "last_reward"),
    PostedLoop("distill", "a teacher, then its student", "DeepNN", 57, "test_accuracy_deep"),
    PostedLoop("recsys_resume", "two optimizers, sparse gradients, a resumable loop", "MF", 120, "val_rmse"),
    PostedLoop("reference_style", "torchvision's references: metric loggers, losses in a dict", "FCN", 80, "mean_iou"),
    PostedLoop("lora_logging", "argparse and logging, adapters on a frozen base", "TinyEncoder", 64, "eval_loss"),
    PostedLoop("compile_flag", "globals as flags, a compile switch, batches from memory maps", "GPT", 91, "val_loss"),
    PostedLoop("cells_compare", "cells with globals, mixup, a one-cycle schedule", "Sequential", 48, "f1"),
    PostedLoop("trainer_hooks", "a Trainer class with callbacks, trained by steps", "Forecaster", 120, "val_mae"),
    PostedLoop("hydra_forecast", "Hydra, instantiate, chdir", "Forecaster", 60, "valid_rmse", (), "hydra"),
)
OUT_OF_REACH = PostedLoop("word_lm_sgd", "updates by hand, without an optimizer", "RNNModel", 0, "")
