"""Modules with one thing wrong each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faultlab.doctor.examination import examine
from faultlab.doctor.finding import ATTENTION, WRONG, Finding
from faultlab.engines import Engine

_HEAD = """
import time, os
import torch
import pytorch_lightning as pl
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

def points(n=16):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x.sum(1, keepdim=True))

class Healthy(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
    def step(self, batch):
        x, y = batch
        return nn.functional.mse_loss(self.layer(x), y)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
    def train_dataloader(self):
        return DataLoader(points(), batch_size=4)

class Trained(Healthy):
    def training_step(self, batch, batch_idx):
        return self.step(batch)

"""


@dataclass(frozen=True)
class Ill:
    """A module's source, what its Trainer is told, and what the doctor has to say."""

    name: str
    source: str
    check: str
    said: str
    trainer: str = "max_epochs: 1"
    verdict: str = WRONG


def lit(body: str, base: str = "Trained") -> str:
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    return f"class Lit({base}):\n{lines}\n"


ILL = [
    Ill("misspelt", lit("def train_step(self, batch, batch_idx):\n    return self.step(batch)", "Healthy"),
        "misspelled", "is named train_step"),
    Ill("nested", lit("def forward(self, x):\n    def training_step(self, batch, i):\n        return 0\n    return x",
                       "Healthy"), "wrongly indented", "nested in forward"),
    Ill("outside", "class Lit(Healthy):\n    pass\n\ndef training_step(self, batch, batch_idx):\n    return 0\n",
        "wrongly indented", "outside the class"),
    Ill("missing", lit("pass", "Healthy"), "missing", "the module has no training_step"),
    Ill("parents", lit("def trainig_step(self, batch, batch_idx):\n    return self.step(batch)"),
        "another method runs", "Trained's runs instead"),
    Ill("twice", lit("def training_step(self, batch, batch_idx):\n    return self.step(batch)\n"
                      "def training_step(self, batch, batch_idx):\n    return 2 * self.step(batch)"),
        "another method runs", "defined 2 times"),
    Ill("attribute", lit("def __init__(self):\n    super().__init__()\n"
                          "    self.training_step = lambda batch, batch_idx: self.step(batch)"),
        "replaced", "has an attribute of that name"),
    Ill("generator", lit("def training_step(self, batch, batch_idx):\n    yield self.step(batch)", "Healthy"),
        "method body", "it is a generator"),
    Ill("coroutine", lit("async def training_step(self, batch, batch_idx):\n    return self.step(batch)", "Healthy"),
        "method body", "it is a coroutine"),
    Ill("limited", lit("pass"), "no batches requested", "limit_train_batches=0",
        "max_epochs: 1, limit_train_batches: 0"),
    Ill("epochless", lit("pass"), "no batches requested", "max_epochs=0", "max_epochs: 0"),
    Ill("stepless", lit("pass"), "no batches requested", "max_steps=0", "max_epochs: 1, max_steps: 0"),
    Ill("timeless", lit("pass"), "no batches requested", "the time is up", 'max_epochs: 1, max_time: "00:00:00:00"'),
    Ill("empty", lit("def train_dataloader(self):\n    return DataLoader([], batch_size=4)"),
        "no batches in the loader", "dataset is empty"),
    Ill("dropped", lit("def train_dataloader(self):\n    return DataLoader(points(3), batch_size=4, drop_last=True)"),
        "no batches in the loader", "3 samples do not fill a batch of 4"),
    Ill("undrawn", lit("def train_dataloader(self):\n    return DataLoader(points(), sampler=[])"),
        "no batches in the loader", "the sampler draws nothing"),
    Ill("dry", "class Dry(IterableDataset):\n    def __iter__(self):\n        return iter(())\n"
        + lit("def train_dataloader(self):\n    return DataLoader(Dry())"), "no batches in the loader",
        "yields no batch"),
    Ill("nones", lit("def train_dataloader(self):\n    return DataLoader(points(), collate_fn=lambda items: None)"),
        "batches of None", "yields None for a batch"),
    Ill("loaderless", lit("def train_dataloader(self):\n    return None"), "no training loader", "no training loader"),
    Ill("loader-misspelt", "class Lit(pl.LightningModule):\n    def __init__(self):\n        super().__init__()\n"
        "        self.layer = nn.Linear(3, 1)\n    def training_step(self, batch, batch_idx):\n        return 0\n"
        "    def configure_optimizers(self):\n        return torch.optim.SGD(self.parameters(), 0.1)\n"
        "    def training_dataloader(self):\n        return DataLoader(points())\n",
        "no training loader", "is named training_dataloader"),
    Ill("minus-one", lit("def on_train_batch_start(self, batch, batch_idx):\n    return -1"),
        "skipped by a hook", "on_train_batch_start returns -1"),
    Ill("stop-iteration", lit("def on_train_epoch_start(self):\n    raise StopIteration"),
        "skipped by a hook", "on_train_epoch_start raises StopIteration"),
    Ill("stops", lit("def on_fit_start(self):\n    self.trainer.should_stop = True"),
        "asked to stop", "on_fit_start sets trainer.should_stop"),
    Ill("callback-stops", "class Stopper(pl.Callback):\n    def setup(self, trainer, module, stage):\n"
        "        trainer.should_stop = True\n" + lit("def configure_callbacks(self):\n    return [Stopper()]"),
        "asked to stop", "sets trainer.should_stop"),
    Ill("no-closure", lit("def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):\n"
                           "    optimizer.step(closure=lambda: None)"), "the closure is not called",
        "optimizer_step drops"),
    Ill("deaf-optimizer",
        "class Deaf(torch.optim.SGD):\n    def step(self, closure=None):\n        return super().step()\n"
        + lit("def configure_optimizers(self):\n    return Deaf(self.parameters(), lr=0.1)"),
        "the closure is not called", "Deaf.step never calls its closure"),
    Ill("setup-raises", lit("def setup(self, stage):\n    raise OSError('no such disk')"),
        "exception before the first step", "after setup"),
    Ill("sanity", lit("def val_dataloader(self):\n    return DataLoader(points())\n"
                       "def validation_step(self, batch, batch_idx):\n    raise ValueError('bad label')"),
        "exception before the first step", "in the sanity check"),
    Ill("mixed", "import lightning.pytorch as other\n" + lit("pass"), "two Lightning packages",
        "is a pytorch_lightning module and the Trainer is from lightning.pytorch",
        "class_path: lightning.pytorch.Trainer, init_args: {max_epochs: 1}"),
    Ill("returns-none", lit("def training_step(self, batch, batch_idx):\n    self.step(batch)", "Healthy"),
        "returned loss", "returns None in 4 of 4 steps"),
    Ill("swallows", lit("def training_step(self, batch, batch_idx):\n    try:\n        return self.stepp(batch)\n"
                         "    except Exception:\n        pass", "Healthy"),
        "swallowed exceptions", "AttributeError is raised in line 31 and swallowed in line 32 by `except Exception`"),
    Ill("swallows-by-suppress", "import contextlib\n" + lit(
        "def training_step(self, batch, batch_idx):\n    with contextlib.suppress(RuntimeError):\n"
        "        return nn.functional.mse_loss(self.layer(batch[0][:, :2]), batch[1])", "Healthy"),
        "swallowed exceptions", "by `with contextlib.suppress(RuntimeError)`"),
    Ill("swallows-in-finally", lit(
        "def training_step(self, batch, batch_idx):\n    loss = None\n    try:\n        loss = self.step(batch[:1])\n"
        "    finally:\n        return loss", "Healthy"),
        "swallowed exceptions", "ValueError is raised in line"),
    Ill("swallows-in-a-helper", lit(
        "def guarded(self, batch):\n    try:\n        return self.layer(batch[0].double())\n    except RuntimeError "
        "as error:\n"
        "        print(error)\n        return torch.zeros(4, 1)\n"
        "def training_step(self, batch, batch_idx):\n    return nn.functional.mse_loss(self.guarded(batch), batch[1])",
        "Healthy"), "swallowed exceptions", "the batch is float64"),
    Ill("swallows-by-a-context", "class Safe:\n    def __enter__(self):\n        return self\n"
        "    def __exit__(self, *error):\n        return True\n\n" + lit(
        "def training_step(self, batch, batch_idx):\n    with Safe():\n        return self.stepp(batch)", "Healthy"),
        "swallowed exceptions", "by `with Safe()`"),
    Ill("swallows-in-a-thread", "import threading\n" + lit(
        "def training_step(self, batch, batch_idx):\n    out = [None]\n    def work():\n"
        "        out[0] = self.stepp(batch)\n    thread = threading.Thread(target=work)\n    thread.start()\n"
        "    thread.join()\n    return out[0]", "Healthy"), "swallowed exceptions", "the end of its thread, 4 times"),
    Ill("swallows-to-a-constant", "def never_fails(step):\n    def inner(*given):\n        try:\n"
        "            return step(*given)\n        except Exception:\n"
        "            return torch.zeros((), requires_grad=True)\n    return inner\n\n" + lit(
        "@never_fails\ndef training_step(self, batch, batch_idx):\n    return self.stepp(batch)", "Healthy"),
        "parameter updates", "because AttributeError is swallowed in line"),
    Ill("swallows-around-fit", "class Calm(pl.Trainer):\n    def fit(self, *given, **more):\n        try:\n"
        "            super().fit(*given, **more)\n        except Exception:\n            pass\n\n" + lit(
        "def training_step(self, batch, batch_idx):\n    return self.stepp(batch)", "Healthy"),
        "end of the run", "Lit has no attribute stepp",
        "class_path: ill_swallows_around_fit.Calm, init_args: {max_epochs: 1}"),
    Ill("swallows-in-a-sampler", "class Half:\n    def __len__(self):\n        return 16\n    def __iter__(self):\n"
        "        order = list(range(8))\n        try:\n            for i in range(16):\n"
        "                yield order[i]\n        except IndexError:\n            return\n\n" + lit(
        "def train_dataloader(self):\n    return DataLoader(points(), batch_size=4, sampler=Half())"),
        "batches per epoch", "epoch 0 gets 2 of 4 batches"),
    Ill("interrupts-itself", lit("def training_step(self, batch, batch_idx):\n    raise KeyboardInterrupt", "Healthy"),
        "end of the run", "the exception is KeyboardInterrupt"),
    Ill("keys-for-parts", "class Named(torch.utils.data.Dataset):\n    def __len__(self):\n        return 8\n"
        "    def __getitem__(self, i):\n        return {'x': torch.ones(3), 'y': torch.ones(1)}\n\n" + lit(
        "def train_dataloader(self):\n    return DataLoader(Named(), batch_size=4)"),
        "end of the run", "the loader yields a dict with the keys x, y"),
    Ill("gradients-lost", lit("def on_after_backward(self):\n    self.zero_grad()"),
        "parameter updates", "although a graph leads from the loss to them: their gradients are zero, or lost"),
    Ill("steps-under-a-condition", lit("def optimizer_step(self, epoch, batch_idx, optimizer, closure=None):\n"
        "    if epoch < 0:\n        optimizer.step(closure=closure)"),
        "the closure is not called", "your optimizer_step never reaches optimizer.step"),
    Ill("labelless", lit("def train_dataloader(self):\n    return DataLoader(points().tensors[0], batch_size=4)"),
        "end of the run", "the loader yields a tensor of shape (4, 3); line 17 unpacks two parts"),
    Ill("double-precision", lit("def training_step(self, batch, batch_idx):\n"
        "    return self.layer(batch[0].double()).mean()", "Healthy"), "end of the run", "and not the batch"),
    Ill("step-without-batch", lit("def training_step(self):\n    return self.layer.weight.sum()", "Healthy"),
        "end of the run", "training_step gets"),
    Ill("rows-for-parts", lit("def training_step(self, batch, batch_idx):\n    x, y = batch\n"
        "    return nn.functional.mse_loss(self.layer(x), y.sum().view(1))\n"
        "def train_dataloader(self):\n    return DataLoader(points().tensors[0], batch_size=2)", "Healthy"),
        "batch unpacking", "the dataset has no labels; its rows are unpacked instead"),
    Ill("by-hand-without-step", lit("def __init__(self):\n    super().__init__()\n"
        "    self.automatic_optimization = False"), "parameter updates", "calls neither backward nor step"),
    Ill("without-graph", lit("def training_step(self, batch, batch_idx):\n    with torch.no_grad():\n"
        "        loss = self.step(batch)\n    return loss.requires_grad_()", "Healthy"),
        "parameter updates", "no graph leads from it to the weights (with torch.no_grad() in line"),
    Ill("steps-by-itself", lit("def __init__(self):\n    super().__init__()\n    self.manual_optimization = True\n"
        "def training_step(self, batch, batch_idx):\n    opt = self.optimizers()\n    opt.zero_grad()\n"
        "    self.step(batch).backward()\n    opt.step()", "Healthy"),
        "optimizer steps", "the attribute that is set is called manual_optimization"),
    Ill("detached", lit("def training_step(self, batch, batch_idx):\n    return self.step(batch).detach()", "Healthy"),
        "returned loss", "the loss has no gradient"),
    Ill("frozen", lit("def __init__(self):\n    super().__init__()\n"
        "    self.head = nn.Linear(1, 1).requires_grad_(False)"),
        "parameter updates", "because requires_grad is False", verdict=ATTENTION),
    Ill("left-out", lit("def configure_optimizers(self):\n    return torch.optim.SGD([self.layer.bias], lr=0.1)"),
        "parameter updates", "because no optimizer has them"),
    Ill("no-optimizer", lit("def configure_optimizers(self):\n    return None"),
        "parameter updates", "returns no optimizer"),
    Ill("no-rate", lit("def configure_optimizers(self):\n    return torch.optim.SGD(self.parameters(), lr=0.0)"),
        "parameter updates", "the learning rate is 0"),
    Ill("nan", lit("def training_step(self, batch, batch_idx):\n    return self.step(batch) * float('nan')",
        "Healthy"),
        "loss values", "not finite in 4 of 4 steps"),
    Ill("raises", lit("def training_step(self, batch, batch_idx):\n    assert batch_idx < 2, 'enough'\n"
                       "    return self.step(batch)", "Healthy"), "end of the run", "after 2 steps"),
    Ill("misnamed-hook", lit("def on_train_epoch_ends(self):\n    pass"),
        "hook names", "the hook is named on_train_epoch_end", verdict=ATTENTION),
    Ill("unvalidated", lit("def validation_step(self, batch, batch_idx):\n    pass"),
        "validation", "there is no validation loader", verdict=ATTENTION),
    Ill("seldom-validated", lit("def validation_step(self, batch, batch_idx):\n    pass\n"
        "def val_dataloader(self):\n    return DataLoader(points())"),
        "validation", "due every 5 epochs, and the training has 2; only the sanity check",
        "max_epochs: 2, check_val_every_n_epoch: 5"),
    Ill("late-validated", lit("def validation_step(self, batch, batch_idx):\n    pass\n"
        "def val_dataloader(self):\n    return DataLoader(points())"),
        "validation", "due every 50 batches (val_check_interval), and the whole training has 8",
        "max_epochs: 2, val_check_interval: 50, check_val_every_n_epoch: null"),
    Ill("every-other-epoch", "class Tape:\n    at = 0\n    def __len__(self):\n        return 4\n"
        "    def __iter__(self):\n        return self\n    def __next__(self):\n        self.at += 1\n"
        "        if self.at > 4:\n            self.at = 0\n            raise StopIteration\n"
        "        return points(4).tensors\n"
        + lit("def train_dataloader(self):\n    return Tape()"),
        "batches per epoch", "epoch 1 gets 0 of 4 batches", "max_epochs: 4"),
    Ill("one-of-two-empty", "from pytorch_lightning.utilities import CombinedLoader\n" + lit(
        "def train_dataloader(self):\n    return CombinedLoader({'labelled': DataLoader(points(0)),"
        " 'rest': DataLoader(points())}, 'min_size')"), "empty loader", "labelled is empty"),
    Ill("cycle-by-epoch", lit("def configure_optimizers(self):\n    opt = torch.optim.SGD(self.parameters(), lr=0.1)\n"
        "    cycle = torch.optim.lr_scheduler.OneCycleLR(opt, 0.1, "
        "total_steps=self.trainer.estimated_stepping_batches)\n"
        "    return [opt], [cycle]"), "learning rate schedule", "stepped once per epoch, 3 times in all",
        "max_epochs: 3"),
    Ill("schedule-by-hand", lit("def __init__(self):\n    super().__init__()\n"
        "    self.automatic_optimization = False\n"
        "def training_step(self, batch, batch_idx):\n    opt = self.optimizers()\n    opt.zero_grad()\n"
        "    self.manual_backward(self.step(batch))\n    opt.step()\n"
        "def configure_optimizers(self):\n    opt = torch.optim.SGD(self.parameters(), lr=0.1)\n"
        "    return [opt], [torch.optim.lr_scheduler.StepLR(opt, 1)]", "Healthy"),
        "learning rate schedule", "StepLR is never stepped", "max_epochs: 2"),
    Ill("clips-nothing", lit("pass"), "options without effect", "gradient_clip_val=1000.0 changes nothing",
        "max_epochs: 1, gradient_clip_val: 1000.0", verdict=ATTENTION),
    Ill("probabilities-for-logits", lit("def training_step(self, batch, batch_idx):\n"
        "    out = torch.sigmoid(self.layer(batch[0]))\n"
        "    return nn.functional.binary_cross_entropy_with_logits(out, (batch[1] > 0).float())", "Healthy"),
        "loss inputs", "gets the output of a sigmoid"),
    Ill("in-a-list", lit("def __init__(self):\n    super().__init__()\n    self.more = [nn.Linear(1, 1)]\n"
        "def step(self, batch):\n    return nn.functional.mse_loss(self.more[0](self.layer(batch[0])), batch[1])"),
        "unregistered weights", "more (a list), which the module does not register"),
    Ill("made-in-the-step", lit("def step(self, batch):\n"
        "    return nn.functional.mse_loss(nn.Linear(1, 1)(self.layer(batch[0])), batch[1])"),
        "unregistered weights", "2 weights that are created in the step itself"),
    Ill("same-data", lit("def __init__(self):\n    super().__init__()\n    self.both = points()\n"
                          "def train_dataloader(self):\n    return DataLoader(self.both)\n"
                          "def val_dataloader(self):\n    return DataLoader(self.both)\n"
                          "def validation_step(self, batch, batch_idx):\n    pass"),
        "shared data", "use the same dataset", verdict=ATTENTION),
    Ill("unseeded", "import numpy as np\n" + lit(
        "def training_step(self, batch, batch_idx):\n"
        "    return self.step(batch) * float(np.random.default_rng().uniform(1, 2))"),
        "deterministic", "differ, from step 0 on, though the weights", verdict=ATTENTION),
    Ill("own-generator", lit(
        "def training_step(self, batch, batch_idx):\n    own = torch.Generator()\n    own.seed()\n"
        "    return self.step(batch) * torch.rand(1, generator=own).sum()"),
        "deterministic", "differ, from step 0 on, though the weights", verdict=ATTENTION),
    Ill("clocked", lit("def __init__(self):\n    torch.manual_seed(time.time_ns() % 2**31)\n    super().__init__()"),
        "deterministic", "differ, from the weights on", verdict=ATTENTION),
    Ill("hangs", lit("def training_step(self, batch, batch_idx):\n    time.sleep(1000)", "Healthy"),
        "clean run", "in or after training_step"),
    Ill("hangs-before", lit("def on_fit_start(self):\n    time.sleep(1000)"), "clean run", "before training_step"),
    Ill("dies", lit("def training_step(self, batch, batch_idx):\n    os._exit(7)", "Healthy"),
        "clean run", "ended with status 7, in or after training_step"),
    Ill("unbuilt", lit("def __init__(self):\n    raise FileNotFoundError('weights.pt')"),
        "build", "building the module raises FileNotFoundError: weights.pt"),
]  # fmt: skip


def findings(folder: Path, engine: Engine, name: str, source: str, trainer: str) -> list[Finding]:
    module = f"ill_{name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(_HEAD + source)
    file = folder / f"{module}.yaml"
    file.write_text(f"schema: 1\nname: {name}\nmodule: {{class_path: {module}.Lit}}\ntrainer: {{{trainer}}}\n")
    return list(examine(str(file), 4.0 if name.startswith("hangs") else 60.0, engine=engine))
