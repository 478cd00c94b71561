"""In the victim: the user's training, looked at while it runs. What is seen goes to the driver as plain data.

``seen`` has: ``cls`` (name, file, line, lineage), ``step`` (what training_step is), ``facts`` of the source,
``trainer`` (settings), ``loader`` (the training loader), and after the run ``calls`` (by hook), ``outputs`` (of
training_step, by kind), ``skipped`` and ``stopped`` (who asked for it, in which hook), ``said`` (what Lightning gives
as the end), ``error``, ``parameters``, ``losses``.
"""

from __future__ import annotations

import faulthandler
import inspect
import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from faultlab.detectors import exceptions
from faultlab.detectors.notice import safe_text
from faultlab.doctor import sources
from faultlab.engines.protocol import Order
from faultlab.harness.session import Send, Session
from faultlab.seams import lightning
from faultlab.seams.callbacks import named_callbacks, own_hooks
from faultlab.seams.patching import Patches
from faultlab.target import Built, Target

_SETTINGS = (
    "max_epochs",
    "min_epochs",
    "max_steps",
    "min_steps",
    "max_time",
    "limit_train_batches",
    "limit_val_batches",
    "fast_dev_run",
    "overfit_batches",
    "num_sanity_val_steps",
    "val_check_interval",
    "check_val_every_n_epoch",
    "accumulate_grad_batches",
)
_NO_HOOKS = {
    "forward",
    "print",
    "log",
    "log_dict",
    "all_gather",
    "freeze",
    "unfreeze",
    "manual_backward",
    "toggle_optimizer",
    "untoggle_optimizer",
    "toggled_optimizer",
    "clip_gradients",
    "optimizers",
    "lr_schedulers",
}
_PREFIXES = (
    "on_",
    "configure_",
    "training_",
    "validation_",
    "test_",
    "predict_",
    "train_",
    "val_",
    "optimizer_",
    "lr_scheduler_",
    "transfer_",
    "prepare_",
    "setup",
    "teardown",
    "backward",
)


def hook_names(base: type) -> list[str]:
    """The methods of Lightning's module that a user may define for Lightning to call."""
    return [
        name
        for name in dir(base)
        if name.startswith(_PREFIXES) and name not in _NO_HOOKS and inspect.isfunction(getattr(base, name, None))
    ]


class Examined(Session):
    """A clean session with an observer of the user's module, its hooks and its callbacks."""

    def __init__(self, target: Target, order: Order, send: Send) -> None:
        super().__init__(target, order, send)
        self._seen: dict[str, Any] = {
            "calls": Counter(),
            "outputs": Counter(),
            "skipped": [],
            "stopped": [],
            "said": [],
            "order": [],
        }
        self._held = Patches()
        self._before: dict[str, Any] = {}
        self._listener = _Listener(self._seen["said"])

    def _build_target(self, changed: Mapping[str, Any], interrupted: bool = False) -> tuple[Built, Any]:
        import torch

        built, trainer = super()._build_target(changed, interrupted)
        module = built.module
        base = lightning.base_module(type(module))
        self._seen.update(
            cls=_class(type(module), base),
            step=_step(module, base),
            facts=_facts(type(module), base),
            own_hooks=[name for name in hook_names(base) if lightning.overrides(type(module), name)],
            trainer={name: _plain(getattr(trainer, name, None)) for name in _SETTINGS},
            arguments={name: _plain(value) for name, value in built.trainer_arguments.items()},
            namespace=built.namespace.__name__,
            trainer_namespace=_namespace(type(trainer), "Trainer"),
            callbacks=[_namespace(type(callback), "Callback") for callback in trainer.callbacks],
            automatic=bool(module.automatic_optimization),
        )
        # Before the run: one that hangs or dies says nothing afterwards.
        self._send({"note": self._seen})
        self._watch(module, base, trainer)
        self._before = {
            name: value.detach().clone()
            for name, value in module.named_parameters()
            if not isinstance(value, torch.nn.parameter.UninitializedParameter)
        }
        return built, trainer

    def _watch(self, module: Any, base: type, trainer: Any) -> None:
        cls = type(module)
        for name in hook_names(base):
            raw = inspect.getattr_static(cls, name, None)
            if lightning.overrides(cls, name) and inspect.isfunction(raw) and name not in vars(module):
                self._held.wrap(cls, name, self._counting(name, trainer, cls.__name__))
        for namespace in lightning.loaded():
            self._held.wrap(lightning.part(namespace, "trainer:call"), "_call_callback_hooks", self._calling_back)
        for name in ("pytorch_lightning", "lightning.pytorch"):
            logging.getLogger(name).addHandler(self._listener)
        logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
        logger.addHandler(self._listener)
        self._held.on_exit(lambda: logger.removeHandler(self._listener))

    def _calling_back(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def calling(trainer: Any, hook: str, *args: Any, **kwargs: Any) -> Any:
            # At each call: a module may bring callbacks of its own when the fit begins.
            with Patches() as patches:
                for name, callback in named_callbacks(trainer):
                    if hook in own_hooks(callback):
                        patches.wrap(callback, hook, self._counting(f"{name}.{hook}", trainer, name))
                return call(trainer, hook, *args, **kwargs)

        return calling

    def _counting(self, name: str, trainer: Any, owner: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(method: Callable[..., Any]) -> Callable[..., Any]:
            def counting(*args: Any, **kwargs: Any) -> Any:
                if name == "training_step" and not getattr(trainer, "training", True):
                    return method(*args, **kwargs)  # by the module's own validation_step, which nothing is learnt of
                seen, stop = self._seen, bool(getattr(trainer, "should_stop", False))
                if not seen["calls"][name] and name == "training_step":
                    self._send({"note": {"reached": "training_step"}})
                seen["calls"][name] += 1
                if len(seen["order"]) < 200 and name not in seen["order"]:
                    seen["order"].append(name)
                try:
                    output = method(*args, **kwargs)
                except StopIteration:
                    seen["skipped"].append({"hook": name, "how": "raises StopIteration", "step": self._clock.step})
                    raise
                if name == "training_step":
                    seen["outputs"][_kind(output)] += 1
                if name.endswith("on_train_batch_start") and output == -1 and "." not in name:
                    seen["skipped"].append({"hook": name, "how": "returns -1", "step": self._clock.step})
                if not stop and getattr(trainer, "should_stop", False):
                    seen["stopped"].append({"hook": name, "owner": owner, "step": self._clock.step})
                if name == "training_step" and seen["calls"][name] >= self._order.examine:
                    trainer.should_stop = True
                return output

            return counting

        return make

    def _run(self) -> dict[str, Any]:
        # Where it stands when its time is up, for one that hangs.
        faulthandler.dump_traceback_later(max(0.5, self._order.deadline - 1), file=sys.__stderr__ or sys.stderr)
        try:
            with self._held:
                return super()._run()
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _ended_by(self, error: BaseException) -> None:
        super()._ended_by(error)
        place = exceptions.place_of(error.__traceback__)
        frame = error.__traceback__
        own = ""
        while frame is not None:
            if self._target.code.holds(frame.tb_frame):
                own = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
            frame = frame.tb_next
        raised = f"{place[0].f_code.co_filename}:{place[0].f_lineno}" if place else ""
        message = f"{type(error).__name__}: {safe_text(error)}"
        self._seen["error"] = {
            "message": message,
            "own": own,
            "raised": raised,
            "during": next(reversed(self._seen["order"]), ""),
        }

    def _evaluate(self) -> None:
        """Nothing: what the weights are worth is not asked here."""

    def _result(self) -> dict[str, Any]:
        if self._built is not None:
            self._seen["parameters"] = _parameters(self._built.module, self._before, self._trainer)
            self._seen["loader"] = _loader(self._trainer)
        self._seen["losses"] = [loss for _, loss in self._trajectory.losses]
        self._seen["end"] = self._trajectory.end
        self._seen["batches"] = self._trajectory.steps
        self._seen["validation_batches"] = self._trajectory.validation_batches
        return {**super()._result(), "seen": self._seen}


class _Listener(logging.Handler):
    """Keeps what Lightning says of its own end."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.INFO)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        text = safe_text(record.getMessage()) if not record.args else safe_text(record.msg)
        if "stopped:" in text and text not in self._said:
            self._said.append(text)


def _class(cls: type, base: type) -> dict[str, Any]:
    lineage = [one for one in cls.__mro__ if one is not object]
    own = lineage[: lineage.index(base)]
    return {
        "path": f"{cls.__module__}.{cls.__qualname__}",
        "name": cls.__name__,
        "place": _place(cls),
        "lineage": [{"name": one.__name__, "place": _place(one)} for one in own],
    }


def _place(thing: Any) -> str:
    try:
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):
        return ""


def _step(module: Any, base: type) -> dict[str, Any]:
    """What `training_step` is, where it is from, and what stands before it."""
    raw = inspect.getattr_static(type(module), "training_step", None)
    owner = next((one for one in type(module).__mro__ if "training_step" in vars(one)), None)
    function = getattr(raw, "__func__", raw)
    bare = inspect.unwrap(function) if callable(function) else function
    kind = (
        "missing"
        if raw is None or owner is None or owner is base
        else "property"
        if isinstance(raw, property)
        else "staticmethod"
        if isinstance(raw, staticmethod)
        else "classmethod"
        if isinstance(raw, classmethod)
        else "coroutine"
        if inspect.iscoroutinefunction(bare)
        else "generator"
        if inspect.isgeneratorfunction(bare) or inspect.isasyncgenfunction(bare)
        else "method"
        if callable(raw)
        else "attribute"
    )
    replaced = "training_step" in vars(module)
    return {
        "kind": kind,
        "owner": owner.__name__ if owner else "",
        "place": _place(bare) if callable(bare) else "",
        "replaced": _place(vars(module)["training_step"]) or "somewhere" if replaced else "",
    }


def _facts(cls: type, base: type) -> dict[str, Any]:
    """What is doubtful in the source of the class and of those of its bases that are not Lightning's."""
    total: dict[str, Any] = {}
    for one in cls.__mro__[: cls.__mro__.index(base)]:
        try:
            file = inspect.getsourcefile(one) or ""
            with open(file, encoding="utf-8") as source:
                facts = sources.class_facts(source.read(), one.__name__, hook_names(base))
        except (OSError, TypeError, SyntaxError, ValueError):
            continue
        for key, entries in facts.items():
            for entry in entries:
                entry = {"line": entry} if isinstance(entry, int) else dict(entry)
                entry = {**entry, "class": one.__name__, "file": file}
                # What Lightning or a base knows by that name is no slip.
                if not (key == "near" and any(hasattr(b, entry["name"]) for b in one.__mro__[1:])):
                    total.setdefault(key, []).append(entry)
    return total


def _kind(output: Any) -> str:
    import torch

    if output is None:
        return "none"
    loss = output.get("loss") if isinstance(output, Mapping) else output
    if isinstance(loss, torch.Tensor):
        return "loss" if loss.requires_grad else "detached"
    return "no loss" if isinstance(output, Mapping) else type(output).__name__


def _parameters(module: Any, before: Mapping[str, Any], trainer: Any) -> dict[str, Any]:
    import torch

    # Where the user gives no optimizer, Lightning puts in one that does nothing.
    given = list(getattr(trainer, "optimizers", None) or ())
    optimizers = [one for one in given if type(one).__name__ != "_MockOptimizer"]
    held = {id(p) for one in optimizers for group in one.param_groups for p in group["params"]}
    rates = [float(group.get("lr", 1.0)) for one in optimizers for group in one.param_groups]
    changed, still, frozen, left_out = [], [], [], []
    for name, value in module.named_parameters():
        old = before.get(name)
        if old is not None and old.shape == value.shape and torch.equal(old, value.detach().cpu().to(old)):
            still.append(name)
        else:
            changed.append(name)
        if not value.requires_grad:
            frozen.append(name)
        elif id(value) not in held:
            left_out.append(name)
    return {
        "changed": changed,
        "still": still,
        "frozen": frozen,
        "left_out": left_out,
        "optimizers": [type(one).__name__ for one in optimizers],
        "largest_rate": max(rates, default=None),
    }


def _loader(trainer: Any) -> dict[str, Any]:
    """The training loader: how many batches it has, and why it may have none."""
    try:
        loader, validation = trainer.train_dataloader, trainer.val_dataloaders
    except Exception as error:  # a user's loader, or none at all
        return {"error": safe_text(error)}
    if loader is None:
        return {}
    found: dict[str, Any] = {"type": type(loader).__name__}
    dataset = getattr(loader, "dataset", None)
    for name, thing in (("batches", loader), ("samples", dataset), ("drawn", getattr(loader, "sampler", None))):
        try:
            found[name] = len(thing)  # type: ignore[arg-type]
        except Exception:  # no length, or one that raises
            found[name] = None
    found["batch_size"] = _plain(getattr(loader, "batch_size", None))
    found["drop_last"] = bool(getattr(loader, "drop_last", False))
    found["sampler"] = type(getattr(loader, "sampler", None)).__name__
    others = validation if isinstance(validation, (list, tuple)) else [validation]
    found["validates_on_it"] = dataset is not None and any(getattr(one, "dataset", None) is dataset for one in others)
    return found


def _namespace(cls: type, base: str) -> str:
    for name in lightning.loaded():
        if issubclass(cls, getattr(sys.modules[name], base)):
            return name
    return ""


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, type(None))) else safe_text(value, 100)
