"""Errors of Python in a training's own lines."""

from __future__ import annotations

from faultlab.doctor.errors.known import Known

ERRORS = [
    Known(
        r"(?P<name>[\w<>]+)\(\) takes (?P<a>\d+) positional arguments? but (?P<b>\d+) (?:was|were) given",
        "{name} gets {b} arguments but takes {a}, including self",
        "Check its def line: does it have self, and does it take what the Trainer passes (training_step(self, batch, "
        "batch_idx))?",
        "edobobo/p-lightning-template#3",
    ),
    Known(
        r"(?P<name>\w+)\(\) missing \d+ required positional arguments?: (?P<what>.+)",
        "{name} does not get {what}",
        "Pass it where the function is called, as separate arguments and not in a list; or give it a default in "
        "the def line.",
        "jayparks/transformer#10",
    ),
    Known(
        r"unexpected keyword argument '(?P<name>\w+)'",
        "a call passes an argument {name} that is not accepted",
        "Check the argument's spelling, and whether the installed version still has it: torch's schedulers, for "
        "example, no longer take verbose.",
        "sb-ai-lab/LightAutoML#173",
    ),
    Known(
        r"(?:too many|not enough) values to unpack",
        "a line unpacks a different number of parts than there are",
        "Unpack as many as there are: print the right-hand side.",
        "SAIC-Vision/WS-3D-Lane#3",
    ),
    Known(
        r"'NoneType' object (?:is not (?P<a>iterable|callable|subscriptable)|has no attribute '(?P<b>\w+)')",
        "something is None where a value is expected ({a}{b}): a function without a return, or an attribute set "
        "too late",
        "Find which name on that line is None, and where it should have been set.",
        "ebagdasa/backdoors101#2",
    ),
    Known(
        r"ModuleNotFoundError: No module named '(?P<name>[^']+)'",
        "{name} is neither installed in this Python nor a file visible from the folder where the training runs",
        "If {name} is your own file or folder, run from the folder that contains it. If it is a package, run "
        "python -m pip install with the name from its documentation.",
        "yu-changqian/TorchSeg#19",
    ),
    Known(
        r"'(?P<cls>list|tuple|dict)' object has no attribute '(?P<name>\w+)'",
        "a {cls} is asked for {name}, which its parts may have but the {cls} does not",
        "Get the right part out of it first: a batch is x, y = batch, or batch[0] if the dataset returns one tensor.",
        "eladrich/pixel2style2pixel#97",
    ),
    Known(
        r"'(?P<cls>\w+)' object has no attribute '(?P<name>\w+)'",
        "{cls} has no attribute {name}",
        "Check its spelling, and whether __init__ assigns it before it is used. The attribute module exists only "
        "if DataParallel or DistributedDataParallel wraps the model: remove it elsewhere.",
        "JDAI-CV/DCL#13",
    ),
    Known(
        r"NameError: name '(?P<name>\w+)' is not defined",
        "the name {name} is not defined",
        "Import or define it, or write self.{name}.",
        "pytorch/pytorch#21473",
    ),
    Known(
        r"AssertionError$|AssertionError: ",
        "a check in the code fails",
        "Check the assert on that line and the values that it compares.",
        "ARBML/klaam#22",
    ),
    Known(
        r"KeyError: (?P<key>.+)",
        "there is no key {key}",
        "Print the keys that exist; a batch's keys come from the dataset.",
        "Babelscape/rebel#40",
    ),
]  # fmt: skip
