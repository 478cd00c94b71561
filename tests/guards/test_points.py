"""Anything done to a module, a Trainer or a guard has the same result with guards as without them.

A new guard inherits all of it: each is tried alone, and so are the sets of both levels.
"""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from faultlab import guards
from faultlab.guards import Guard, KnownGood, KnownGoodRecorder
from faultlab.guards.known_profile import combine
from faultlab.guards.support import trials
from faultlab.guards.support.callback import HOOKS
from tests.guards.rig import QUIET

CLASSES = guards.classes()
SETS = ("cheap", "full")
ALONE = pytest.mark.nightly(reason="each guard alone; the quick ring has all of them together")
WHO = [*[pytest.param(cls, id=cls.__name__, marks=ALONE) for cls in CLASSES], *SETS]
EACH = [*[pytest.param(cls, id=cls.__name__) for cls in CLASSES], *SETS]
POINTS = [hook for hook in HOOKS if hook not in ("on_exception",) and "test" not in hook and "predict" not in hook]
MORE = pytest.mark.nightly(reason="more forms of compiling; the quick ring has those in which hooks are in the way")
TURNED = pytest.mark.nightly(reason="each set of guards in one place more; the quick ring has both, and both places")
pytestmark = pytest.mark.usefixtures("nothing_compiled")


def crossed(*places: str, more: Sequence[str] = ()) -> list[Any]:
    """Return every guard and set at every point; the quick ring has only the sets, each at another point."""
    return [
        pytest.param(
            who,
            place,
            id=f"{who if who in SETS else who.__name__}-{place}",
            marks=ALONE if who not in SETS else MORE if place in more else TURNED if who != SETS[number] else (),
        )
        for who in (*CLASSES, *SETS)
        for number, place in enumerate((*places, *more))
    ]


class Network(nn.Module):
    """Has a part of every kind that a guard hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Module(pl.LightningModule):
    """Keeps a network among its hyperparameters, and does something ``unusual`` in its first training steps."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = network
        self.unusual: Callable[[Module, Tensor], Any] | None = None

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self.network(x), y)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if self.unusual is not None and self.trainer.current_epoch == 0:
            self.unusual(self, batch[0])
        return self.loss(*batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(*batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.05)


def data() -> tuple[DataLoader[Any], DataLoader[Any]]:
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    pairs = TensorDataset(x, (x.sum(1) > 0).long())
    return DataLoader(pairs, batch_size=8, shuffle=True), DataLoader(pairs, batch_size=16)


class At(pl.Callback):
    """Does something at every hook, or at one."""

    def __init__(self, do: Callable[[pl.Trainer, pl.LightningModule, str], None], at: str = "") -> None:
        for hook in POINTS:
            if at in ("", hook):
                setattr(self, hook, self._doing(do, hook))

    @staticmethod
    def _doing(do: Callable[[Any, Any, str], None], hook: str) -> Callable[..., None]:
        return lambda trainer, module, *_, **__: do(trainer, module, hook)


@pytest.fixture(scope="module")
def profile() -> Any:
    """Return a record of known good runs, without which a guard has nothing to do."""
    summaries = []
    for seed in range(3):
        train([recorder := KnownGoodRecorder()], seed=seed)
        summaries.append(recorder.summary)
    return combine([summary for summary in summaries if summary])


@pytest.fixture
def watching(profile: Any) -> Callable[[Any], list[Any]]:
    """Return the callbacks of a guard's class, or of a level."""

    def made(who: Any) -> list[Any]:
        if who in SETS:
            return [guards.all(who, monitor="val_loss", profile=profile, action="warn")]
        arguments = {"profile": profile} if who is KnownGood else who.arguments("val_loss", "min")
        return [who(action="warn", **arguments)]

    return made


@pytest.fixture(autouse=True)
def nothing_is_said() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def train(callbacks: list[Any], module: pl.LightningModule | None = None, seed: int = 0, **trainer: Any) -> pl.Trainer:
    torch.manual_seed(seed)
    module = Module(Network()) if module is None else module
    made = pl.Trainer(**{**QUIET, "max_epochs": 2, "callbacks": callbacks, **trainer})
    made.fit(module, *data())
    return made


def everything(module: nn.Module) -> dict[str, Any]:
    """Return what a training leaves: its weights, random numbers, and what is attached to the module and its parts."""
    parts = dict(module.named_modules())
    hooks = [name for name in vars(module) if name.endswith("_hooks")]
    return {
        "state": [value.clone() for value in module.state_dict().values()],
        "random": torch.get_rng_state(),
        "names": [sorted(vars(part)) for part in parts.values()],
        "hooks": [len(vars(part)[name]) for part in parts.values() for name in hooks],
        "methods": [vars(part).get("_compiled_call_impl") for part in parts.values()],
    }


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    for name, value in one.items():
        if name == "state":
            assert all(map(torch.equal, value, other[name])), name
        else:
            assert torch.equal(value, other[name]) if isinstance(value, Tensor) else value == other[name], name


@pytest.fixture(scope="module")
def bare() -> dict[str, Any]:
    train([], module := seeded())
    return everything(module)


def seeded() -> Module:
    torch.manual_seed(0)
    return Module(Network())


def no_hooks(module: nn.Module) -> None:
    """Check that a copy has none of the guards' hooks."""
    assert b"faultlab" not in pickle.dumps([vars(part).get("_forward_hooks") for part in module.modules()])


@pytest.mark.parametrize(("who", "order"), crossed("before", "after"))
def test_all_can_be_copied_and_pickled_at_every_hook(who: Any, order: str, watching: Any, bare: dict[str, Any]) -> None:
    callbacks = watching(who)
    seen: set[str] = set()

    def copy_all(trainer: Any, module: Any, hook: str) -> None:
        if hook in seen:
            return
        seen.add(hook)
        with torch.random.fork_rng():
            again = pickle.loads(pickle.dumps([module, callbacks]))
            no_hooks(copy.deepcopy(module))
            copy.deepcopy(callbacks)
            assert b"faultlab" not in pickle.dumps(module)
        assert len(again) == 2

    doing = At(copy_all)
    train([doing, *callbacks] if order == "before" else [*callbacks, doing], module := seeded())
    assert len(seen) > 20
    assert_same(bare, everything(module))


@pytest.mark.parametrize("who", EACH)
def test_a_copy_made_in_the_middle_of_a_step_is_a_module_like_any_other(
    who: Any, watching: Any, bare: dict[str, Any]
) -> None:
    copies: list[Any] = []

    def copy_it(module: Module, x: Tensor) -> None:
        module.unusual = None
        with torch.random.fork_rng():
            copies.append(copy.deepcopy(module.network))
            copies.append(pickle.loads(pickle.dumps(module.network)))
            torch.save(module.network, io.BytesIO())
            assert b"faultlab" not in pickle.dumps(module.network)

    module = seeded()
    module.unusual = copy_it
    train(watching(who), module)
    assert_same({**bare, "names": []}, {**everything(module), "names": []})
    for made in copies:
        assert made(torch.randn(8, 4)).shape == (8, 2)


@pytest.mark.parametrize("who", WHO)
def test_checkpoints_with_the_module_in_them_are_written_and_read(who: Any, watching: Any, tmp_path: Path) -> None:
    module = seeded()
    saving = pl.callbacks.ModelCheckpoint(dirpath=tmp_path, every_n_train_steps=3, save_top_k=-1)
    train([*watching(who), saving], module, enable_checkpointing=True)
    written = sorted(tmp_path.glob("*.ckpt"))
    assert len(written) >= 2
    for path in written:
        read = torch.load(path, weights_only=False)
        assert isinstance(read["hyper_parameters"]["network"], Network)
        no_hooks(read["hyper_parameters"]["network"])
    assert Module.load_from_checkpoint(written[0], weights_only=False).network.head.weight.shape == (2, 8)


def vmapped(module: Module, x: Tensor) -> None:
    parts = dict(module.network.named_parameters()), dict(module.network.named_buffers())
    module.network.eval()
    torch.func.vmap(lambda row: torch.func.functional_call(module.network, parts, (row[None],)))(x)
    per_sample = torch.func.grad(
        lambda weights, row: torch.func.functional_call(module.network, (weights, parts[1]), (row[None],)).sum()
    )
    torch.func.vmap(per_sample, (None, 0))({name: p.detach() for name, p in parts[0].items()}, x)
    torch.func.jvp(module.network, (x,), (torch.ones_like(x),))
    module.network.train()


def traced(module: Module, x: Tensor) -> None:
    with torch.random.fork_rng():
        torch.jit.trace(module.network.eval(), x, check_trace=False)
        torch.fx.symbolic_trace(module.network)
        torch.utils.checkpoint.checkpoint(module.network, x.requires_grad_(), use_reentrant=False).sum().backward()
        module.network.zero_grad()
        x.requires_grad_(False)
    module.network.train()


@pytest.mark.parametrize("unusual", [vmapped, traced], ids=lambda unusual: unusual.__name__)
@pytest.mark.parametrize("who", WHO)
def test_a_network_is_transformed_and_traced_as_ever(who: Any, unusual: Any, watching: Any) -> None:
    def course(callbacks: list[Any]) -> dict[str, Any]:
        module = seeded()
        module.unusual = unusual
        train(callbacks, module, max_epochs=1)
        return everything(module)

    assert_same(course([]), course(watching(who)))


graphs: list[int] = []


def counting(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
    graphs.append(len(graph.graph.nodes))
    return graph.forward


def compiled(form: str, backend: Any) -> Module:
    module = seeded()
    how: dict[str, Any] = {"backend": backend, "fullgraph": True}
    network = module.network
    if form == "network":
        module.network = torch.compile(network, **how)
    elif form == "in place":
        network.compile(**how)
    elif form == "method of the module":
        module.loss = torch.compile(module.loss, **how)  # type: ignore[method-assign]
    elif form == "function":
        function = torch.compile(lambda network, x, y: F.cross_entropy(network(x), y), **how)
        module.loss = lambda x, y: function(network, x, y)  # type: ignore[method-assign]
    else:

        def late(module: Module, x: Tensor) -> None:
            module.unusual = None
            network.compile(**how)

        module.unusual = late
    return module


def of_compiled(form: str, callbacks: list[Any], backend: Any = counting) -> tuple[list[int], list[Tensor]]:
    torch._dynamo.reset()
    graphs.clear()
    train(callbacks, module := compiled(form, backend), max_epochs=1)
    return [*graphs], [value.clone() for value in module.state_dict().values()]


@pytest.mark.parametrize(
    ("who", "form"),
    crossed("function", "in the first step", more=("network", "in place", "method of the module")),
)
def test_a_graph_that_has_to_be_whole_is_compiled_once_and_whole(who: Any, form: str, watching: Any) -> None:
    graphs_alone, alone = of_compiled(form, [])
    graphs_watched, watched = of_compiled(form, watching(who))
    assert graphs_alone
    assert graphs_watched == graphs_alone
    assert all(map(torch.equal, alone, watched))


@MORE
@pytest.mark.parametrize("who", SETS)
def test_so_it_is_by_the_backend_that_differentiates_graphs_ahead(who: Any, watching: Any) -> None:
    _, alone = of_compiled("in place", [], "aot_eager")
    _, watched = of_compiled("in place", watching(who), "aot_eager")
    assert all(map(torch.equal, alone, watched))


class Stop(BaseException):
    """Ends a training from anywhere."""


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, Stop])
@pytest.mark.parametrize("at", ["in the step", "on_train_batch_start", "on_before_backward", "on_validation_batch_end"])
@pytest.mark.parametrize("who", WHO)
def test_nothing_is_left_on_a_module_whose_training_failed(who: Any, at: str, error: Any, watching: Any) -> None:
    def left(callbacks: list[Any]) -> dict[str, Any]:
        module = seeded()

        def fail(*_: Any) -> None:
            raise error("ends here")

        if at == "in the step":
            # A copy that a guard tries earlier would end the training at another place.
            module.unusual = lambda *_: None if trials.trying() else fail()
        with pytest.raises((error, SystemExit)):
            train([*callbacks, At(fail, at)] if at != "in the step" else callbacks, module)
        return everything(module)

    assert_same(left([]), left(watching(who)))


@pytest.mark.parametrize("who", CLASSES, ids=lambda cls: cls.__name__)
def test_a_guard_whose_look_fails_is_counted_out_and_leaves_the_training_alone(
    who: type[Guard], watching: Any, bare: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guard, "own_errors", "warn")
    [guard] = watching(who)

    def fail(*_: Any, **__: Any) -> None:
        raise LookupError("no such thing")

    for hook in HOOKS:
        if hook in vars(who):
            monkeypatch.setattr(who, hook, guards.guard.held(_named(fail, hook)))
    train([guard], module := seeded())
    assert_same(bare, everything(module))
    assert "LookupError: no such thing" in guard.report()
    assert who.__name__ in guard.report()


def _named(function: Callable[..., None], name: str) -> Callable[..., None]:
    def named(*args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)

    named.__name__ = name
    return named
