"""What the doctor reads in a script around the module, and in the sources of classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from faultlab.doctor.examination import examine
from faultlab.doctor.finding import ATTENTION, OK, WRONG
from faultlab.doctor.sources import class_facts, meant
from faultlab.engines import Engine
from tests.doctor import ill_modules


def test_a_test_of_the_scripts_name_that_is_never_true_is_named(tmp_path: Path, engine: Engine) -> None:
    script = tmp_path / "misspelt_main.py"
    script.write_text(
        "import pytorch_lightning as pl\nfrom pytorch_lightning.demos.boring_classes import BoringModel\n"
        'if __name__ == "main":\n    pl.Trainer(max_epochs=1).fit(BoringModel())\n'
    )
    (found,) = [one for one in examine(str(script), 60, engine=engine) if one.verdict == WRONG]
    assert "`__name__ == 'main'` in line 3 is never true" in found.what
    assert found.remedy == 'Write if __name__ == "__main__":'


def test_a_checkpoint_that_has_done_all_epochs_is_told_though_its_path_is_in_a_variable(
    tmp_path: Path, engine: Engine
) -> None:
    script = tmp_path / "resumes.py"
    script.write_text(
        "import pathlib, torch\nimport pytorch_lightning as pl\n"
        "from pytorch_lightning.demos.boring_classes import BoringModel\n"
        "last = pathlib.Path(__file__).parent / 'last.ckpt'\n"
        "pl.Trainer(max_epochs=2).fit(BoringModel(), ckpt_path=str(last) if last.exists() else None)\n"
    )
    progress = {"current": {"completed": 2}}
    torch.save({"loops": {"fit_loop": {"epoch_progress": progress}}, "global_step": 128}, tmp_path / "last.ckpt")
    told = [one for one in examine(str(script), 60, engine=engine) if one.check == "checkpoint to resume from"]
    assert [one.verdict for one in told] == [WRONG]
    assert "has already completed 2 epochs, and max_epochs is 2" in told[0].what


def test_scripts_around_the_module_are_read(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "train.py").write_text(
        "from lightning.pytorch import Trainer\nfrom pytorch_lightning import seed_everything\n"
        "from ill_scripted import Lit\ntrainer = Trainer(limit_train_batches=0, fast_dev_run=True)\n"
        "trainer.test(Lit())\n"
    )
    found = ill_modules.findings(tmp_path, engine, "scripted", ill_modules.lit("pass"), "max_epochs: 1")
    said = [one.what for one in found if one.verdict == ATTENTION]
    assert any("limit_train_batches=0" in what for what in said)
    assert any("fast_dev_run" in what for what in said)
    assert any("call trainer.test but never trainer.fit" in what for what in said)
    assert any("both lightning and pytorch_lightning" in what for what in said)
    (tmp_path / "train.py").write_text("from ill_scripted import Lit\ntrainer.fit(Lit(), ckpt_path='last.ckpt')\n")
    found = ill_modules.findings(tmp_path, engine, "scripted", ill_modules.lit("pass"), "max_epochs: 1")
    assert any("resumes from last.ckpt" in one.what for one in found if one.check == "resumed training")


SCRIPT = """
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel

class Lit(BoringModel):
{steps}

trainer = pl.Trainer(max_epochs=500, {arguments})
trainer.{call}(Lit())
"""


@pytest.mark.parametrize(
    ("steps", "arguments", "call", "check", "verdict", "said"),
    [
        ("    pass", "", "fit", "clean run", OK, "the first 100 steps take"),
        (
            "    def train_step(self, batch, batch_idx): ...",
            "",
            "fit",
            "another method runs",
            WRONG,
            "named train_step",
        ),
        ("    pass", "limit_train_batches=0", "fit", "no batches requested", WRONG, "limit_train_batches"),
        ("    pass", "", "test", "import", WRONG, "calls no Trainer.fit"),
    ],
)
def test_a_training_script_is_examined_as_far_as_a_hundred_steps(
    tmp_path: Path, engine: Engine, steps: str, arguments: str, call: str, check: str, verdict: str, said: str
) -> None:
    script = tmp_path / f"train_{call}_{len(steps)}_{len(arguments)}.py"
    script.write_text(SCRIPT.format(steps=steps, arguments=arguments, call=call))
    found = list(examine(str(script), 60, engine=engine))
    assert [one for one in found if one.check == check and one.verdict == verdict and said in one.what], found


def test_names_that_are_nearly_hooks_are_told_from_names_of_ones_own() -> None:
    hooks = ["training_step", "validation_step", "on_train_epoch_end", "val_dataloader", "test_step"]
    assert meant("train_step", hooks) == "training_step"
    assert meant("Training_step", hooks) == "training_step"
    assert meant("valid_dataloader", hooks) == "val_dataloader"
    assert [meant(name, hooks) for name in ("training_step", "step", "shared_step", "__init__", "encode")] == [""] * 5


def test_a_property_with_its_setter_is_not_defined_twice() -> None:
    text = "class A:\n    @property\n    def setup(self): ...\n    @setup.setter\n    def setup(self, v): ...\n"
    assert class_facts(text, "A", ["setup"])["twice"] == []
