"""What datasets, loaders and collating refuse."""

from __future__ import annotations

from faultlab.doctor.errors.known import Known

ERRORS = [
    Known(
        r"num_samples should be a positive integer value, but got num_samples=0",
        "the dataset is empty: shuffling draws from 0 samples",
        "Look where the dataset gets its samples from: a path, a filter, a split.",
    ),
    Known(
        r"batch_size should be a positive integer value, but got batch_size=(?P<size>\S+)",
        "batch_size is {size}",
        "Give a whole number above 0.",
    ),
    Known(
        r"stack expects each tensor to be equal size, but got (?P<a>\[[^\]]*\]) at entry 0 and (?P<b>\[[^\]]*\]) at "
        r"entry",
        "the samples of a batch have different shapes, {a} and {b}, and can't be stacked",
        "Resize or pad them in the dataset, or give the DataLoader a collate_fn that does.",
        "amdegroot/ssd.pytorch#546",
    ),
    Known(
        r"each element in list of batch should be of equal size",
        "the lists in a batch's samples have different lengths",
        "Pad them, or give the DataLoader a collate_fn.",
    ),
    Known(
        r"batch must contain tensors, numpy arrays, numbers, dicts or lists; found <class '(?P<type>[^']+)'>",
        "the dataset gives a {type}, of which no batch can be made",
        "Turn it into a tensor in the dataset (for images ToTensor()), return nothing that is None, or give a "
        "collate_fn.",
        "nitsaick/kits19-challenge#7",
    ),
    Known(
        r"expected unspecified shuffle option",
        "shuffle=True is given for an IterableDataset, which has an order of its own",
        "Take shuffle out, and shuffle in the dataset.",
    ),
    Known(
        r"object of type '(?P<cls>NoneType|int|float|bool|generator|map|filter|zip)' has no len\(\)",
        "the length is asked for of a {cls}, which has none",
        "Look which name on that line is a {cls}: None comes of a function without a return, a generator or map has to "
        "be made a list first.",
    ),
    Known(
        r"object of type '(?P<cls>\w+)' has no len\(\)",
        "{cls} has no __len__, and a loader has to know how many samples there are",
        "Define __len__(self) in {cls}.",
    ),
    Known(
        r"'(?P<cls>(?!NoneType)\w+)' object is not subscriptable|'(?P<other>\w+)' object does not support indexing",
        "something is taken by index or key of a {cls}{other}, which has none",
        "Where that is the dataset, define __getitem__(self, index); where it is a batch, look what the loader yields.",
    ),
    Known(
        r"Can't (?:pickle|get) local object '(?P<name>[^']+)'|Can't pickle <function (?P<anonymous><lambda>)",
        "loader workers get the dataset by pickling, and {name}{anonymous} can't be: it is a lambda or was defined "
        "inside a function",
        "Define it at the top of a module, or use num_workers=0.",
    ),
    Known(
        r"before the\s+current process has finished its bootstrapping phase",
        "the script starts processes (loader workers, DDP) when it is imported by them",
        'Put what the script does under `if __name__ == "__main__":`.',
    ),
    Known(
        r"DataLoader worker \(pid\(?s?\)? .* exited unexpectedly|DataLoader worker .* is killed by signal",
        "a loader's worker died: out of memory, or a crash in what it calls",
        "Use num_workers=0 once: the error then has its own message.",
    ),
    Known(
        r"Expected more than 1 value per channel when training, got input size torch\.Size\((?P<size>\[[^\]]*\])\)",
        "a batch of one sample ({size}) reaches BatchNorm, which needs two: the last batch of the epoch, or "
        "batch_size=1",
        "Give the training DataLoader drop_last=True, or another batch_size.",
        "StudyingFuFu/L2COcc#2",
    ),
    Known(
        r"IndexError: index (?P<i>-?\d+) is out of bounds for (?:axis|dimension) 0 with size (?P<n>\d+)",
        "index {i} is asked for of {n} entries: where the dataset raises it, __len__ says more than it has",
        "Return in __len__ the number of samples that __getitem__ can give.",
    ),
    Known(
        r"IndexError: (?P<kind>list|tuple) index out of range",
        "an index lies beyond the end of a {kind}: where the dataset raises it, __len__ says more than it has",
        "In a dataset return in __len__ the number of samples that __getitem__ can give; elsewhere print the {kind}.",
    ),
    Known(
        r"FileNotFoundError: .*'(?P<path>[^']+)'",
        "{path} is not there, seen from the folder in which the training runs",
        "Give an absolute path, or one from the script's own folder: Path(__file__).parent.",
    ),
]  # fmt: skip
