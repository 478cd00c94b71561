"""What Python refuses in a training's own lines."""

from __future__ import annotations

from faultlab.doctor.errors.known import Known

ERRORS = [
    Known(
        r"(?P<name>[\w<>]+)\(\) takes (?P<a>\d+) positional arguments? but (?P<b>\d+) (?:was|were) given",
        "{name} is given {b} arguments and takes {a}, self counted",
        "Look at its def line: is self there, and does it take what Lightning gives (training_step(self, batch, "
        "batch_idx))?",
        "edobobo/p-lightning-template#3",
    ),
    Known(
        r"(?P<name>\w+)\(\) missing \d+ required positional arguments?: (?P<what>.+)",
        "{name} is not given {what}",
        "Give it where it is called, one argument each and not all in a list; or give it a default in its def line.",
        "jayparks/transformer#10",
    ),
    Known(
        r"unexpected keyword argument '(?P<name>\w+)'",
        "something is given an argument {name} that it does not take",
        "Look how the argument is spelt, and whether the installed version still has it: the schedulers of torch, for "
        "one, take no verbose any more.",
        "sb-ai-lab/LightAutoML#173",
    ),
    Known(
        r"(?:too many|not enough) values to unpack",
        "a line unpacks another number of parts than there are",
        "Unpack as many as there are: print what stands on its right.",
        "SAIC-Vision/WS-3D-Lane#3",
    ),
    Known(
        r"'NoneType' object (?:is not (?P<a>iterable|callable|subscriptable)|has no attribute '(?P<b>\w+)')",
        "something is None where a value is expected ({a}{b}): a function without a return, or an attribute set too "
        "late",
        "Look which name on that line is None, and where it should have been set.",
        "ebagdasa/backdoors101#2",
    ),
    Known(
        r"ModuleNotFoundError: No module named '(?P<name>[^']+)'",
        "{name} is neither installed in this Python nor a file that the training sees from where it runs",
        "Where {name} is a file or folder of yours, run from the folder that holds it. Where it is a package: python "
        "-m pip install, with the name that its own documentation gives.",
        "yu-changqian/TorchSeg#19",
    ),
    Known(
        r"'(?P<cls>list|tuple|dict)' object has no attribute '(?P<name>\w+)'",
        "a {cls} is asked for {name}, which its parts may have and the {cls} has not",
        "Take the part that is meant out of it first: a batch is x, y = batch, or batch[0] where the dataset gives one "
        "tensor.",
        "eladrich/pixel2style2pixel#97",
    ),
    Known(
        r"'(?P<cls>\w+)' object has no attribute '(?P<name>\w+)'",
        "{cls} has no attribute {name}",
        "Look how it is spelt, and whether __init__ assigns it before it is used. The attribute module is there only "
        "where DataParallel or DistributedDataParallel wraps the model: leave it out elsewhere.",
        "JDAI-CV/DCL#13",
    ),
    Known(
        r"NameError: name '(?P<name>\w+)' is not defined",
        "the name {name} is nowhere defined",
        "Import or define it, or write self.{name}.",
        "pytorch/pytorch#21473",
    ),
    Known(
        r"AssertionError$|AssertionError: ",
        "a check in the code does not hold",
        "Look at the assert on that line and at what it compares.",
        "ARBML/klaam#22",
    ),
    Known(
        r"KeyError: (?P<key>.+)",
        "there is no key {key}",
        "Print the keys that are there; a batch's come from the dataset.",
        "Babelscape/rebel#40",
    ),
]  # fmt: skip
