"""Values for constructor arguments without a default, by annotation and name."""

from __future__ import annotations

import re
from typing import Any

from faultlab.discovery.module_source import Reading, methods_of, needed_arguments
from faultlab.discovery.project_index import Source

# The first match wins. Values are ordinary but small, because a run is repeated hundreds of times.
_BY_NAME: list[tuple[str, Any]] = [
    (r"(^|_)(lr|learning_rate|rate)($|_)", 0.001),
    (r"weight_decay|(^|_)wd$|l2", 0.0),
    (r"momentum|beta|ema", 0.9),
    (r"drop", 0.1),
    (r"vocab|n_?tokens|num_?embeddings", 100),
    (r"num_?class|n_?class|out_?class|num_?labels|n_?labels|classes|out_?(dim|features|size|channels)|output", 10),
    (r"in_?channels|n_?channels|channels|num_?channels", 3),
    (r"n_?heads?|num_?heads?|nhead", 2),
    (r"n_?layers|num_?layers|depth|n_?blocks", 2),
    (r"latent|z_?dim|noise_?dim", 16),
    (r"hidden|hid|d_?model|embed|emb|dim_|width|units|features_map", 32),
    (r"in_?(dim|features|size)|input|n_?features|num_?features|dim$", 16),
    (r"batch_?size|bs$", 16),
    (r"seq|length|window|context|block_?size", 16),
    (r"epochs|t_max", 2),
    (r"warm|steps|total", 10),
    (r"image_?size|img_?size|resolution", 32),
    (r"kernel", 3),
    (r"temperature|alpha|gamma|lambda|tau", 1.0),
    (r"optimi[sz]er", "adam"),
    (r"activation", "relu"),
]
_BY_ANNOTATION: dict[str, Any] = {
    "int": 16,
    "float": 0.1,
    "bool": False,
    "str": "",
    "dict": {},
    "list": [],
    "tuple": [],
}
_HOLDERS = re.compile(r"^(hparams|args|config|cfg|conf|opt|params|hyper_?params|hp)$")


def guess(source: Source, reading: Reading, importable: bool) -> tuple[dict[str, Any], list[str]]:
    """Return values for the constructor's required arguments, and the names of those without one."""
    values: dict[str, Any] = {}
    unknown: list[str] = []
    for name, annotation in reading.needed.items():
        found = _value(source, name, annotation, reading.settings.get(name, []), importable)
        if found is None:
            unknown.append(name)
        else:
            values[name] = found
    return values, unknown


def _value(source: Source, name: str, annotation: str, settings: list[str], importable: bool) -> Any:
    if _HOLDERS.match(name):
        inner = {setting: by_name(setting) for setting in settings}
        held = {setting: value for setting, value in inner.items() if value is not None}
        if "dict" in annotation.lower():
            return held
        return {"class_path": "argparse.Namespace", "init_args": held}
    plain = annotation.partition("[")[0].partition("|")[0].strip().rpartition(".")[2].lower()
    if plain in _BY_ANNOTATION or not annotation:
        value = by_name(name)
        if value is not None and _fits(value, plain):
            return value
        if plain in _BY_ANNOTATION:
            return _BY_ANNOTATION[plain]
    return _part(source, name, annotation, importable)


def by_name(name: str) -> Any:
    """Return an ordinary value for an argument of that name, or None if the name is unknown."""
    return next((value for words, value in _BY_NAME if re.search(words, name.lower())), None)


def _fits(value: Any, annotation: str) -> bool:
    if not annotation:
        return True
    return type(value).__name__ == annotation or (annotation == "float" and isinstance(value, int))


def _part(source: Source, name: str, annotation: str, importable: bool) -> Any:
    """Return a class of the same file for an argument that is a network: by its name or annotation."""
    networks = [one for one in source.classes if one in source.subclasses("Module") and one not in source.modules]
    wanted = annotation.rpartition(".")[2]
    lower = name.lower().replace("_", "")
    chosen = [one for one in networks if one == wanted] or [
        one for one in networks if lower in one.lower() or one.lower() in lower
    ]
    generic = lower in ("model", "net", "network", "backbone", "module", "classifier")
    if not chosen and generic and networks:
        chosen = networks[-1:]
    for one in chosen:
        init = methods_of(source, one).get("__init__")
        needed = needed_arguments(init) if init is not None else {}
        inner = {key: _value(source, key, of, [], importable) for key, of in needed.items()}
        if None not in inner.values():
            path = source.class_path(one) if importable else one
            return {"class_path": path, **({"init_args": inner} if inner else {})}
    return None
