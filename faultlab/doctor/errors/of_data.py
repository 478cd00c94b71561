"""Errors of datasets, loaders and collate functions."""

from __future__ import annotations

from faultlab.doctor.errors.known import Known

ERRORS = [
    Known(
        r"num_samples should be a positive integer value, but got num_samples=0",
        "the dataset is empty: shuffling draws from 0 samples",
        "Check the path, file extension, filter or split that gives the dataset its samples. print(len(dataset)) "
        "must show more than 0.",
        "yichaojie/MobileNetV3#1",
    ),
    Known(
        r"batch_size should be a positive integer value, but got batch_size=(?P<size>\S+)",
        "batch_size is {size}, but torch needs a positive int: it is 0, a float such as 70.0, or text from the "
        "command line or a config file",
        "Pass a positive int; in argparse add type=int, and divide with //.",
        "pytorch/examples#1104",
    ),
    Known(
        r"stack expects each tensor to be equal size, but got (?P<a>\[[^\]]*\]) at entry 0 and (?P<b>\[[^\]]*\]) at "
        r"entry",
        "the samples of a batch have different shapes, {a} and {b}, and can't be stacked",
        "Resize or pad them in the dataset, or pass a collate_fn that does so to the DataLoader.",
        "amdegroot/ssd.pytorch#546",
    ),
    Known(
        r"each element in list of batch should be of equal size",
        "the lists in a batch's samples have different lengths",
        "Pad them to one length in the dataset, or pass a collate_fn that keeps them as lists to the DataLoader.",
        "pytorch/pytorch#42654",
    ),
    Known(
        r"batch must contain tensors, numpy arrays, numbers, dicts or lists; found <class '(?P<type>[^']+)'>",
        "the dataset returns a {type}, which can't be batched",
        "Convert it to a tensor in the dataset (ToTensor() for images), never return None, or pass a collate_fn to "
        "the DataLoader.",
        "nitsaick/kits19-challenge#7",
    ),
    Known(
        r"batch must contain tensors, numpy arrays, numbers, dicts or lists; found (?P<dtype>[^<\s]\S*|<[US]\d+)",
        "the dataset returns a numpy array of type {dtype}, which holds text or Python objects instead of numbers "
        "and can't be batched",
        'Encode text and categories as numbers, and convert the array to a numeric type: array.astype("float32").',
        "nitsaick/kits19-challenge#14",
    ),
    Known(
        r"expected unspecified shuffle option",
        "shuffle=True is set for an IterableDataset, which has an order of its own",
        "Remove shuffle from the DataLoader, and shuffle in the dataset.",
        "vahidk/tfrecord#51",
    ),
    Known(
        r"object of type '(?P<cls>NoneType|int|float|bool|generator|map|filter|zip)' has no len\(\)",
        "len() is called on a {cls}, which has no length",
        "Find the name on that line that is a {cls}: None comes from a function without a return or from a missing "
        "argument, such as a DataLoader's dataset; convert a generator or map to a list first.",
        "ridgerchu/SpikeGPT#3",
    ),
    Known(
        r"object of type '(?P<cls>\w+)' has no len\(\)",
        "{cls} has no __len__, but a loader needs the number of samples",
        "Define __len__(self) in {cls}.",
        "edgarschnfld/CADA-VAE-PyTorch#26",
    ),
    Known(
        r"'(?P<cls>(?!NoneType)\w+)' object is not subscriptable|'(?P<other>\w+)' object does not support indexing",
        "a {cls}{other} is indexed, but does not support it",
        "If it is the dataset, define __getitem__(self, index) in it; if it is a batch, check what the loader "
        "yields. A DataLoader can only be iterated over: for one batch, write next(iter(loader)).",
        "NielsRogge/Transformers-Tutorials#118",
    ),
    Known(
        r"Can't (?:pickle|get) local object '(?P<name>[^']+)'|Can't pickle <function (?P<anonymous><lambda>)",
        "loader workers get the dataset by pickling, but {name}{anonymous} can't be pickled: it is a lambda or "
        "defined inside a function",
        "Define it at the top level of a module, or use num_workers=0.",
        "Teoge/DMPR-PS#17",
    ),
    Known(
        r"before the\s+current process has finished its bootstrapping phase",
        "the script starts processes (loader workers, DDP) when it is imported by them",
        "Put the script's actions under `if __name__ == \"__main__\":`.",
        "tinkerhub/ComputerVision-with-PyTorch-Learning-Program#80",
    ),
    Known(
        r"DataLoader worker \(pid\(?s?\)? .* exited unexpectedly|DataLoader worker .* is killed by signal",
        "a loader's worker died: out of memory, or a crash in code that it calls",
        "Run once with num_workers=0 to see the error's own message.",
        "Sense-X/X-Temporal#12",
    ),
    Known(
        r"Expected more than 1 value per channel when training, got input size torch\.Size\((?P<size>\[[^\]]*\])\)",
        "a batch of one sample ({size}) reaches BatchNorm, which needs two: the last batch of the epoch, or "
        "batch_size=1",
        "Set drop_last=True on the training DataLoader, or use another batch_size.",
        "StudyingFuFu/L2COcc#2",
    ),
    Known(
        r"IndexError: index (?P<i>-?\d+) is out of bounds for (?:axis|dimension) 0 with size (?P<n>\d+)",
        "index {i} is requested from {n} entries: in a dataset, __len__ returns more than there are; elsewhere, a "
        "label is not below the number of classes",
        "Make __len__ return the number of samples that __getitem__ has; if the index is a label, number the "
        "classes from 0 and set the number of classes to match.",
        "xingyizhou/CenterNet#322",
    ),
    Known(
        r"IndexError: (?P<kind>list|tuple) index out of range",
        "an index is beyond the end of a {kind}: in a dataset, __len__ returns more than there are",
        "In a dataset, make __len__ return the number of samples that __getitem__ has; elsewhere, print the {kind}.",
        "jakeoung/Unet_pytorch#4",
    ),
    Known(
        r"FileNotFoundError: .*'(?P<path>[^']+)'",
        "{path} does not exist in the folder where the training runs",
        "Use an absolute path, or one relative to the script's folder: Path(__file__).parent.",
        "fangpin/siamese-pytorch#2",
    ),
]  # fmt: skip
