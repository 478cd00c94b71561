"""Code with which beginners meet the errors that the doctor explains: each raises the true one, of torch or Lightning.

Each entry: what is done, and words of the cause and the remedy that the explanation has to have. ``TOLD`` has errors
that take a GPU, another process or another system, by their text alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset


@dataclass(frozen=True)
class Met:
    """``act`` raises the error; ``during`` is the hook in which a user would meet it, where that matters."""

    name: str
    act: Callable[[], Any]
    cause: str
    remedy: str
    during: str = ""


class Line(pl.LightningModule):
    """A module that trains, for entries that spoil one thing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        loss = F.mse_loss(self.layer(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def _data(n: int = 16) -> DataLoader[Any]:
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4)


def _fit(module: Any, *loaders: Any, **arguments: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "logger"), False)
        trainer = pl.Trainer(
            **{"max_epochs": 1, "accelerator": "cpu", "default_root_dir": folder, **quiet, **arguments}
        )
        trainer.fit(module, *(loaders or (_data(),)))


def _with(**methods: Any) -> Any:
    """A module like `Line` with some methods replaced."""
    return type("Changed", (Line,), methods)()


def _manual(step: Any) -> Any:
    module = _with(training_step=step)
    module.automatic_optimization = False
    return module


def _no_super(self: Any) -> None:
    self.layer = nn.Linear(4, 1)


def _unpacks_optimizers(self: Any, batch: Any, batch_idx: int) -> None:
    _first, _second = self.optimizers()


def _steps_a_list() -> Any:
    module = _with(
        training_step=lambda self, batch, i: self.optimizers().step(),
        configure_optimizers=lambda self: [torch.optim.SGD(self.parameters(), 0.1) for _ in range(2)],
    )
    module.automatic_optimization = False
    return module


class _NoSuperData(pl.LightningDataModule):
    def __init__(self) -> None:
        self.size = 4

    def train_dataloader(self) -> Any:
        return _data()


class _Samples(Dataset[Any]):
    def __init__(self, *samples: Any, length: int | None = None) -> None:
        self.samples = samples
        self.length = len(samples) if length is None else length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


class _NoLength(Dataset[Any]):
    def __getitem__(self, index: int) -> Any:
        return index


class _Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(range(4))


class _NoForward(nn.Module):
    pass


def _twice() -> None:
    loss = nn.Linear(4, 1)(torch.ones(1, 4)).pow(2).sum()
    loss.backward()
    loss.backward()


def _in_place() -> None:
    x = torch.ones(2, requires_grad=True)
    y = torch.sigmoid(x)
    y += 1
    y.sum().backward()


def _leaf_in_place() -> None:
    layer = nn.Linear(2, 2)
    layer.weight += 1


def _one_cycle() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=2)
    for _ in range(4):
        optimizer.step()
        scheduler.step()


def _mismatched() -> None:
    nn.Linear(4, 2).load_state_dict(nn.Linear(4, 3).state_dict())


def _renamed() -> None:
    nn.Linear(4, 2).load_state_dict({"model.weight": torch.ones(2, 4), "model.bias": torch.ones(2)})


def _pickled() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "whole.pt")
        torch.save(Line(), path)
        torch.load(path)


def _anomaly() -> None:
    with torch.autograd.detect_anomaly(check_nan=True):
        x = torch.zeros(1, requires_grad=True)
        (torch.sqrt(x) * 0).sum().backward()


def _inference() -> None:
    with torch.inference_mode():
        kept = torch.ones(1, 4)
    nn.Linear(4, 1)(kept).sum().backward()


def _hparams(self: Any) -> None:
    super(type(self), self).__init__()
    self.hparams = {"lr": 0.1}


_PARAMETERS = nn.Linear(2, 2)
_X = torch.ones(4, 8)

MET = [
    *[
        Met(f"Trainer({name})", lambda name=name: pl.Trainer(**{name: 1}), f"no longer has the argument {name}", said)
        for name, said in {
            "gpus": "devices", "num_processes": "devices", "tpu_cores": "devices", "auto_select_gpus": "devices",
            "distributed_backend": "strategy", "checkpoint_callback": "enable_checkpointing",
            "early_stop_callback": "EarlyStopping", "progress_bar_refresh_rate": "TQDMProgressBar",
            "weights_summary": "enable_model_summary", "resume_from_checkpoint": "ckpt_path", "auto_lr_find": "Tuner",
            "auto_scale_batch_size": "Tuner", "replace_sampler_ddp": "use_distributed_sampler",
            "track_grad_norm": "grad_norm", "terminate_on_nan": "detect_anomaly",
            "stochastic_weight_avg": "StochasticWeightAveraging", "multiple_trainloader_mode": "CombinedLoader",
            "amp_backend": "precision", "max_nb_epochs": "max_epochs",
        }.items()
    ],
    Met("an argument misspelt", lambda: pl.Trainer(max_epoch=1), "max_epoch", "spelling"),
    Met("training_epoch_end", lambda: _fit(_with(training_epoch_end=lambda self, outputs: None)),
        "training_epoch_end is not called", "on_train_epoch_end"),
    Met("validation_epoch_end",
        lambda: _fit(_with(validation_step=lambda self, batch, i: None, validation_epoch_end=lambda self, o: None),
                     _data(), _data()), "validation_epoch_end is not called", "on_validation_epoch_end"),
    Met("optimizer_idx", lambda: _fit(_with(training_step=lambda self, batch, batch_idx, optimizer_idx: None)),
        "takes optimizer_idx", "automatic_optimization = False"),
    Met("several optimizers",
        lambda: _fit(_with(configure_optimizers=lambda self: [torch.optim.SGD(self.parameters(), 0.1)] * 2)),
        "several optimizers", "automatic_optimization = False"),
    Met("clipping by hand", lambda: _fit(_manual(lambda self, batch, i: None), gradient_clip_val=1.0),
        "does nothing under manual optimization", "clip_gradients"),
    Met("accumulating by hand", lambda: _fit(_manual(lambda self, batch, i: None), accumulate_grad_batches=2),
        "does nothing under manual optimization", "divide the loss"),
    Met("a checkpoint's monitor", lambda: _fit(_with(validation_step=lambda self, b, i: None), _data(), _data(),
                     callbacks=[ModelCheckpoint(monitor="val_loss")]),
        "monitors val_loss, which no step logs", 'self.log("val_loss"'),
    Met("early stopping's monitor",
        lambda: _fit(_with(validation_step=lambda self, b, i: None), _data(), _data(),
                     callbacks=[EarlyStopping("acc")]),
        "monitors acc, which no step logs", 'self.log("acc"'),
    Met("a plateau's monitor", lambda: _fit(_with(configure_optimizers=lambda self: {
        "optimizer": (opt := torch.optim.SGD(self.parameters(), 0.1)), "monitor": "val_loss",
        "lr_scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau(opt)})), "monitors val_loss", "monitor"),
    Met("a plateau without monitor", lambda: _fit(_with(configure_optimizers=lambda self: {
        "optimizer": (opt := torch.optim.SGD(self.parameters(), 0.1)),
        "lr_scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau(opt)})), "which logged metric", "monitor"),
    Met("no LightningModule", lambda: _fit(nn.Linear(4, 1)), "not a LightningModule", "Derive it"),
    Met("a step that returns a text", lambda: _fit(_with(training_step=lambda self, batch, i: "done")),
        "something other than a loss", "Return the loss"),
    Met("a dict without loss", lambda: _fit(_with(training_step=lambda self, batch, i: {"out": torch.ones(1)})),
        "without the key 'loss'", '"loss": loss'),
    Met("log in setup", lambda: _fit(_with(setup=lambda self, stage: self.log("a", 1.0))), "keeps no results",
        "in a step"),
    Met("log on_step at the epoch's end",
        lambda: _fit(_with(on_train_epoch_end=lambda self: self.log("a", 1.0, on_step=True))), "once per epoch",
        "on_step"),
    Met("log of a vector", lambda: _fit(_with(on_train_epoch_end=lambda self: self.log("a", torch.ones(3)))),
        "several values", ".mean()"),
    Met("log of a text", lambda: _fit(_with(on_train_epoch_end=lambda self: self.log("a", "text"))),
        "logs only numbers", "Log each number"),
    Met("self.trainer in __init__", lambda: Line().trainer, "before fit has set it", "setup()"),
    Met("hparams assigned", lambda: _with(__init__=_hparams), "Lightning's own property", "save_hyperparameters"),
    Met("a gpu that is not there", lambda: pl.Trainer(accelerator="cuda"), "accelerator that this machine",
        "auto"),
    Met("mode auto", lambda: EarlyStopping("a", mode="auto"), "neither min nor max", 'mode="min"'),
    Met("the best by nothing", lambda: ModelCheckpoint(save_top_k=3), "no metric to compare them by", "monitor"),
    Met("an interval too long",
        lambda: _fit(_with(validation_step=lambda self, b, i: None), _data(), _data(), val_check_interval=100),
        "validation would never run", "smaller number"),
    Met("a share above one", lambda: _fit(Line(), limit_train_batches=1.5), "neither a share of the batches", "int"),
    Met("a data module without super", lambda: _fit(Line(), _NoSuperData()), "does not call super",
        "super().__init__()"),
    Met("one optimizer unpacked", lambda: _fit(_manual(_unpacks_optimizers)), "unpacks one optimizer", "opt = "),
    Met("a list stepped", lambda: _fit(_steps_a_list()), "on a list of optimizers", "opt_a, opt_b"),
    Met("a scheduler dict without scheduler", lambda: _fit(_with(configure_optimizers=lambda self: {
        "optimizer": torch.optim.SGD(self.parameters(), 0.1), "lr_scheduler": {"interval": "step"}})),
        "without the scheduler itself", '"scheduler": scheduler'),
    Met("a text for an optimizer", lambda: _fit(_with(configure_optimizers=lambda self: "adam")),
        "can't read", "Return an optimizer"),
    Met("no training_step", lambda: _fit(pl.LightningModule()), "has no training_step", "Define training_step"),
    Met("None as a loader", lambda: _fit(Line(), None), "no train_dataloader", "Pass a DataLoader to fit"),
    Met("a number as a loader", lambda: _fit(Line(), 5), "can't iterate over", "DataLoader"),
    Met("loaders and a data module", lambda: pl.Trainer(logger=False, accelerator="cpu").fit(
        Line(), _data(), datamodule=pl.LightningDataModule()), "both loaders and a data module", "one of them"),
    Met("a checkpoint that is missing", lambda: pl.Trainer(logger=False, accelerator="cpu", max_epochs=1).fit(
        Line(), _data(), ckpt_path="nowhere.ckpt"), "nowhere.ckpt", "an existing file"),
    Met("no parameters", lambda: torch.optim.SGD(nn.ReLU().parameters(), 0.1), "has no parameters", "nn.ModuleList"),
    Met("a computed weight", lambda: torch.optim.SGD([torch.ones(2, requires_grad=True) * 2], 0.1),
        "computed from others", "nn.Parameter"),
    Met("a weight in two groups", lambda: torch.optim.SGD(
        [{"params": _PARAMETERS.parameters()}, {"params": _PARAMETERS.parameters()}], 0.1), "same weights",
        "one group"),
    Met("modules for weights", lambda: torch.optim.SGD([_PARAMETERS.parameters()], 0.1),  # type: ignore[list-item]
        "among its weights", "joined"),
    Met("one tensor for a list", lambda: torch.optim.SGD(_PARAMETERS.weight, 0.1), "one tensor or module",
        "parameters()"),
    Met("a negative rate", lambda: torch.optim.SGD(_PARAMETERS.parameters(), -0.1), "the learning rate is -0.1",
        "above 0"),
    Met("a cycle too short", _one_cycle, "planned for 2 steps", "estimated_stepping_batches"),
    Met("no super", lambda: _with(__init__=_no_super), "before super().__init__()", "super().__init__() first"),
    Met("no forward", lambda: _NoForward()(_X), "has no forward", "Define forward"),
    Met("weights of other shapes", _mismatched, "shape [3, 4], but that of Linear has [2, 4]",
        "the checkpoint's arguments"),
    Met("weights of other names", _renamed, "names of weights are not those", "prefix"),
    Met("a whole module loaded", _pickled, "objects other than tensors", "weights_only=False"),
    Met("heads that do not divide", lambda: nn.MultiheadAttention(10, 3), "not a multiple", "multiple of num_heads"),
    Met("cuda()", lambda: _X.cuda(), "asks for a GPU", "remove .cuda()"),
    Met("no graph", lambda: torch.ones(1).backward(), "leads from the loss back", ".detach()"),
    Met("no graph in validation", lambda: torch.ones(1).backward(), "switched off in validation", "enable_grad",
        during="validation_step"),
    Met("kept from inference mode", _inference, "created in validation", "inference_mode=False"),
    Met("backward twice", _twice, "graph of an earlier step", "detach"),
    Met("in place", _in_place, "changed in place", "x = x + ..."),
    Met("a weight in place", _leaf_in_place, "a weight is changed in place", "no_grad"),
    Met("a loss a sample", lambda: nn.Linear(8, 1)(_X).backward(), "one value per sample", "mean()"),
    Met("numpy of a graph", lambda: nn.Linear(8, 1)(_X).numpy(), "numpy array", "detach()"),
    Met("gradients of whole numbers", lambda: torch.ones(2, dtype=torch.long).requires_grad_(), "integers",
        "logits"),
    Met("a root of nothing", _anomaly, "gives NaN", "epsilon"),
    Met("unused in the graph", lambda: torch.autograd.grad(
        nn.Linear(8, 1)(_X).sum(), torch.ones(1, requires_grad=True)), "not computed from", "allow_unused"),
    Met("whole numbers that require grad", lambda: torch.tensor([1], requires_grad=True), "integers", "1.0"),
    Met("an array of text", lambda: list(DataLoader(_Samples(np.array(["a"]), np.array(["b"])), batch_size=2)),
        "type <U1", "numbers"),
    Met("an empty dataset", lambda: DataLoader(_Samples(), shuffle=True), "the dataset is empty", "filter"),
    Met("a batch size of 0", lambda: DataLoader(_Samples(1), batch_size=0), "batch_size is 0", "positive int"),
    Met("samples of two sizes", lambda: list(DataLoader(_Samples(torch.ones(2), torch.ones(3)), batch_size=2)),
        "[2] and [3]", "collate_fn"),
    Met("lists of two lengths", lambda: list(DataLoader(_Samples([1], [1, 2]), batch_size=2)), "different lengths",
        "Pad"),
    Met("None as a sample", lambda: list(DataLoader(_Samples(None, None), batch_size=2)), "NoneType", "collate_fn"),
    Met("a shuffled stream", lambda: DataLoader(_Stream(), shuffle=True), "order of its own", "Remove shuffle"),
    Met("a dataset without length", lambda: DataLoader(_NoLength(), shuffle=True), "no __len__", "Define __len__"),
    Met("a length that is too long", lambda: list(DataLoader(_Samples(1, 2, length=3))), "returns more than there are",
        "__len__"),
    Met("a batch of one", lambda: nn.BatchNorm1d(8)(_X[:1]), "one sample", "drop_last=True"),
    Met("a file that is missing", lambda: Path("nowhere/data.csv").read_text(), "nowhere/data.csv does not exist",
        "Path(__file__)"),
    Met("float64", lambda: nn.Linear(8, 1)(torch.from_numpy(np.ones((4, 8)))), "float64", ".float()"),
    Met("whole numbers into a layer", lambda: nn.Linear(8, 1)(_X.long()), "Long", ".float()"),
    Met("bytes into a convolution", lambda: nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2, dtype=torch.uint8)),
        "unsigned char", "255"),
    Met("a wrong width", lambda: nn.Linear(4, 1)(_X), "Linear layer with 4 inputs gets 8", "in_features=8"),
    Met("a loss of whole numbers",
        lambda: _fit(_with(training_step=lambda self, b, i: self.layer(b[0]).long().sum())),
        "leads from the loss back", ".detach()"),
    Met("labels of floats", lambda: F.cross_entropy(_X, torch.ones(4)), "class numbers are expected", "y.long()"),
    Met("one-hot of whole numbers", lambda: F.cross_entropy(_X, torch.ones(4, 8).long()), "class probabilities",
        "argmax"),
    Met("a label too large", lambda: F.cross_entropy(_X, torch.full((4,), 8)), "label 8 is not among", "outputs"),
    Met("a column of labels", lambda: F.cross_entropy(_X, torch.ones(4, 1).long()), "dimension too many", "squeeze"),
    Met("fewer labels", lambda: F.cross_entropy(_X, torch.ones(3).long()), "4 predictions and 3 labels",
        "batch dimension first"),
    Met("labels of sequences", lambda: F.cross_entropy(torch.ones(4, 5, 8), torch.ones(4, 5).long()), "[4, 5]",
        "transpose"),
    Met("shapes of probabilities", lambda: F.binary_cross_entropy(torch.rand(4, 1), torch.rand(4)), "[4, 1]",
        "same shape"),
    Met("logits for probabilities", lambda: F.binary_cross_entropy(torch.full((4,), 3.0), torch.ones(4)),
        "not probabilities", "BCEWithLogitsLoss"),
    Met("an index too large", lambda: nn.Embedding(4, 2)(torch.tensor([4])), "num_embeddings", "largest index"),
    Met("floats for indices", lambda: nn.Embedding(4, 2)(torch.ones(2)), "instead of integers", "long()"),
    Met("an image without channels", lambda: nn.Conv2d(1, 1, 1)(torch.ones(5, 1, 1, 2, 2)), "number of dimensions",
        "unsqueeze"),
    Met("channels last", lambda: nn.Conv2d(3, 1, 1)(torch.ones(1, 8, 8, 3)), "for 3 channels gets an input with 8",
        "permute"),
    Met("an image too small", lambda: nn.Conv2d(1, 1, 5)(torch.ones(1, 1, 2, 2)), "smaller than the layer's window",
        "padding"),
    Met("view of a transposed", lambda: torch.ones(2, 3).t().view(-1), "contiguous", "reshape"),
    Met("view of another size", lambda: _X.view(-1, 5), "can't be viewed", "flatten"),
    Met("shapes that differ", lambda: _X + torch.ones(4, 7), "8 in one and 7", "same"),
    Met("features of a sequence", lambda: nn.LSTM(3, 2)(torch.ones(5, 4, 8)), "for 3 features per step but gets 8",
        "input_size=8"),
    Met("a layer of a tuple", lambda: nn.Sequential(nn.LSTM(8, 2), nn.Linear(2, 1))(_X), "gets a tuple",
        "self.lstm(x)"),
    Met("a mean of numbers", lambda: torch.ones(2).long().mean(), "integers", ".float().mean()"),
    Met("item of several", lambda: _X.item(), "32 values", ".mean()"),
    Met("a loss class called", lambda: nn.MSELoss(_X, _X), "yes/no condition", "nn.MSELoss()"),
    Met("softmax of whole numbers", lambda: torch.softmax(_X.long(), 1), "can't compute", ".float()"),
    Met("a dimension too far", lambda: torch.softmax(torch.ones(3), 1), "dimension 1", "squeeze(1)"),
    Met("cat of two shapes", lambda: torch.cat([torch.ones(2, 3), torch.ones(2)]), "joins tensors", "unsqueeze"),
    Met("self forgotten", lambda: type("A", (), {"go": lambda: 1})().go(), "1", "self"),
    Met("an argument forgotten", lambda: Line().training_step(1), "batch_idx", "default"),  # type: ignore[call-arg]
    Met("parts that do not fit", lambda: (lambda p: [a for a, b in [p]])((1, 2, 3)), "a different number of parts",
        "Unpack"),
    Met("None called", lambda: None.shape, "None where a value", "which name"),  # type: ignore[attr-defined]
    Met("a package that is missing", lambda: __import__("no_such_package"), "neither installed", "pip install"),
    Met("an attribute misspelt", lambda: Line().lyaer, "has no attribute lyaer", "spelling"),
    Met("a key that is missing", lambda: {"x": 1}["y"], "no key 'y'", "keys that exist"),
]  # fmt: skip

TOLD = [
    ("RuntimeError: Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same",
     "not registered", "nn.ModuleList"),
    ("RuntimeError: Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be the same",
     "created in a step", "device=self.device"),
    ("RuntimeError: mat1 and mat2 must have the same dtype, but got Float and Half", "weights are in half precision",
     "16-mixed"),
    ("RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
     "plain attribute", "register_buffer"),
    ("TypeError: The classmethod `Net.load_from_checkpoint` cannot be called on an instance.",
     "returns a new module", "model = Net.load_from_checkpoint(path)"),
    ("RuntimeError: value cannot be converted to type at::Half without overflow", "ends at 65504", "finfo"),
    ("OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "too little memory", "batch_size"),
    ("RuntimeError: CUDA error: device-side assert triggered", "out of range", 'accelerator="cpu"'),
    ("RuntimeError: DataLoader worker (pid(s) 4521) exited unexpectedly", "worker died", "num_workers=0"),
    ("PicklingError: Can't pickle <function <lambda> at 0x7f>: attribute lookup failed", "<lambda>", "num_workers=0"),
    ("RuntimeError: \"addmm_impl_cpu_\" not implemented for 'Half'", "half precision", "16-mixed"),
    ("ModuleNotFoundError: No module named 'utils'", "utils is neither installed", "your own file or folder"),
    ("AttributeError: Can't pickle local object 'main.<locals>.Data'", "pickling", "top level of a module"),
    ("RuntimeError: An attempt has been made to start a new process before the current process has finished its "
     "bootstrapping phase.", "when it is imported", "__main__"),
]  # fmt: skip
