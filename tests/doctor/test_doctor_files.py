"""What the doctor says of whole files: what they set or define and never use, and small slips; with quiet twins."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from faultlab.doctor.habits import HABITS
from faultlab.doctor.whole_files import facts

_KEPT = """
    class Net(LightningModule):
        def __init__(self, lr=1e-3, kl_coeff=0.1):
            self.kl_coeff = kl_coeff
        def training_step(self, batch, batch_idx):
            return self.error(batch) {TERM}
        def configure_optimizers(self):
            return Adam(self.parameters(), lr=self.hparams.lr)
    """
_AVERAGE = """
    class Average(Callback):
        def update(self, module): ...
        def on_train_batch_end(self, trainer, module, *_):
            {CALL}
    """
_NUMBERED = """
    words = {WORDS}
    numbers = {word: number for number, word in enumerate(words)}
    """
_COUNTED = """
    class Net(LightningModule):
        def on_fit_start(self):
            self.trainer.fit_loop.epoch_progress.current.{WHAT}
    """
_MADE = """
    class Net(LightningModule):
        def configure_optimizers(self):
            optimizer = Adam(self.parameters())
            schedule = StepLR(optimizer, 3)
            return {WHAT}
    """
_SEEDED = """
    class Net(LightningModule):
        def {METHOD}(self):
            torch.manual_seed(0)
    """
_SPLIT = """
    class Data(LightningDataModule):
        def setup(self, stage):
            self.parts = random_split(self.dataset, [3, 1]{SEED})
    trainer.fit(model, data)
    trainer.test(model, data)
    """
_LAYERS = """
    class Net(LightningModule):
        def __init__(self):
            self.layers = nn.ModuleList({LAYERS})
    """
_LOGGED = """
    class Net(LightningModule):
        def validation_step(self, batch, batch_idx):
            self.log("val_loss", self.error(batch){WHEN})
    trainer = Trainer(callbacks=[ModelCheckpoint(monitor="val_loss")])
    """
_CLEARED = """
    class Net(LightningModule):
        def training_step(self, batch, batch_idx):
            first, second = self.optimizers()
            first.zero_grad()
            self.manual_backward(self.error(batch))
            first.step()
            {CLEAR}
            self.manual_backward(self.other(batch))
            second.step()
    """


def _told(source: str, **seen: Any) -> list[str]:
    files = facts({"train.py": textwrap.dedent(source)}, lambda name: name.startswith("on_"))
    return [found.what for found in HABITS.run({"files": files, **seen})]


@pytest.mark.parametrize(
    ("source", "place", "ill", "well", "says"),
    [
        (_KEPT, "{TERM}", "", "* self.kl_coeff", "self.kl_coeff is set and never used"),
        (_AVERAGE, "{CALL}", "pass", "self.update(module)", "Average.update is never called"),
        (_NUMBERED, "{WORDS}", "list(set(text))", "sorted(set(text))", "numbers the members of a set"),
        (_COUNTED, "{WHAT}", "completed = 3", "describe()", "sets self.trainer.fit_loop.epoch_progress"),
        (_MADE, "{WHAT}", "optimizer", "[optimizer], [schedule]", "StepLR is created as schedule"),
        (_SEEDED, "{METHOD}", "on_train_epoch_start", "__init__", "with the same seed each time"),
        (_SPLIT, "{SEED}", "", ", generator=torch.Generator().manual_seed(1)", "setup again for each stage"),
        (_LAYERS, "{LAYERS}", "[Block()] * 3", "[Block() for _ in range(3)]", "the same layer, Block(), several times"),
        (_LAYERS, "{LAYERS}", "[one for _ in range(3)]", "[one for one in blocks]", "the same layer, one,"),
        (_LAYERS, "{LAYERS}", "[block] * 3", "[nn.ReLU()] * 3", "the same layer, block,"),
        (_LOGGED, "{WHEN}", ", on_epoch=False", ", on_step=True", "logs val_loss with on_epoch=False"),
        (_CLEARED, "{CLEAR}", "pass", "second.zero_grad()", "never calls second.zero_grad()"),
        (_CLEARED, "{CLEAR}", "pass", "self.critic.zero_grad()", "never calls second.zero_grad()"),
    ],
)
def test_a_slip_in_a_file_is_told_and_its_twin_is_not(source: str, place: str, ill: str, well: str, says: str) -> None:
    (what,) = _told(source.replace(place, ill))
    assert says in what
    assert _told(source.replace(place, well)) == []


def test_a_file_that_does_not_parse_says_nothing() -> None:
    assert _told("class Net(:") == []


_GUARDED = """
try:
    net.load_state_dict(torch.load(path))
except Exception:
    {HANDLER}
"""


@pytest.mark.parametrize(
    ("seen", "verdicts"),
    [
        ({"loads": [], "loads_failed": ["train.py:3"]}, ["wrong"]),
        ({"loads": [], "loads_failed": []}, ["attention"]),
        ({"loads": ["train.py:3"], "loads_failed": []}, []),
    ],
    ids=["the load failed", "nobody knows", "it was loaded"],
)
def test_a_load_whose_exception_is_swallowed_is_wrong_if_it_failed(seen: dict[str, Any], verdicts: list[str]) -> None:
    def given(handler: str) -> list[str]:
        files = facts({"train.py": _GUARDED.replace("{HANDLER}", handler)}, lambda _: False)
        return [found.verdict for found in HABITS.run({"files": files, **seen})]

    assert given("print('no weights')") == verdicts
    assert given("raise") == []


def test_an_attribute_that_a_later_loader_assigns_is_told_if_it_is_missing() -> None:
    source = """
    class Net(LightningModule):
        def train_dataloader(self):
            self.parts = self.split()
        def val_dataloader(self):
            return DataLoader(self.parts)
    """
    missing = "AttributeError: 'Net' object has no attribute 'parts'"
    assert ["which only train_dataloader assigns" in what for what in _told(source, error=missing)] == [True]
    assert _told(source, error="") == []


def test_a_scheduler_that_is_stepped_beside_the_optimizer_has_no_gradients_to_clear() -> None:
    source = """
    class Net(LightningModule):
        def training_step(self, batch, batch_idx):
            optimizer, schedule = self.optimizers(), self.lr_schedulers()
            optimizer.zero_grad()
            self.manual_backward(self.error(batch))
            optimizer.step()
            schedule.step()
    """
    assert _told(source) == []


def test_a_root_is_told_where_the_loss_is_nan_and_nothing_is_added_under_it() -> None:
    source = """
    class Net(LightningModule):
        def training_step(self, batch, batch_idx):
            return (self(batch) ** 2{EPS}).sqrt().mean()
    """
    bare = source.replace("{EPS}", "")
    assert ["its slope is infinite" in what for what in _told(bare, losses=[0.5, None])] == [True]
    assert _told(bare, losses=[0.5, 0.4]) == []
    assert _told(source.replace("{EPS}", " + 1e-8"), losses=[0.5, None]) == []
