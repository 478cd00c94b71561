"""What datasets, loaders and collating refuse."""

from __future__ import annotations

from faultlab.doctor.errors.known import Known

ERRORS = [
    Known(
        r"num_samples should be a positive integer value, but got num_samples=0",
        "the dataset is empty: shuffling draws from 0 samples",
        "Look where the dataset gets its samples from: a path, a file ending that it looks for, a filter, a split. "
        "print(len(dataset)) has to show more than 0.",
        "yichaojie/MobileNetV3#1",
    ),
    Known(
        r"batch_size should be a positive integer value, but got batch_size=(?P<size>\S+)",
        "batch_size is {size}, where torch wants an int above 0: it is 0, a float such as 70.0, or text from the "
        "command line or a config file",
        "Give a whole number above 0; in argparse add type=int, and divide with //.",
        "pytorch/examples#1104",
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
        "Pad them to one length in the dataset, or give the DataLoader a collate_fn that keeps them as lists.",
        "pytorch/pytorch#42654",
    ),
    Known(
        r"batch must contain tensors, numpy arrays, numbers, dicts or lists; found <class '(?P<type>[^']+)'>",
        "the dataset gives a {type}, of which no batch can be made",
        "Turn it into a tensor in the dataset (for images ToTensor()), return nothing that is None, or give the "
        "DataLoader a collate_fn.",
        "nitsaick/kits19-challenge#7",
    ),
    Known(
        r"batch must contain tensors, numpy arrays, numbers, dicts or lists; found (?P<dtype>[^<\s]\S*|<[US]\d+)",
        "the dataset gives a numpy array of type {dtype}, which holds text or Python objects and no numbers, and no "
        "batch can be made of it",
        'Encode text and categories as numbers, and give the array a type of numbers: array.astype("float32").',
        "nitsaick/kits19-challenge#14",
    ),
    Known(
        r"expected unspecified shuffle option",
        "shuffle=True is given for an IterableDataset, which has an order of its own",
        "Take shuffle out of the DataLoader, and shuffle in the dataset.",
        "vahidk/tfrecord#51",
    ),
    Known(
        r"object of type '(?P<cls>NoneType|int|float|bool|generator|map|filter|zip)' has no len\(\)",
        "the length is asked for of a {cls}, which has none",
        "Look which name on that line is a {cls}: None comes of a function without a return or of an argument left "
        "out, such as a DataLoader's dataset; a generator or map has to be made a list first.",
        "ridgerchu/SpikeGPT#3",
    ),
    Known(
        r"object of type '(?P<cls>\w+)' has no len\(\)",
        "{cls} has no __len__, and a loader has to know how many samples there are",
        "Define __len__(self) in {cls}.",
        "edgarschnfld/CADA-VAE-PyTorch#26",
    ),
    Known(
        r"'(?P<cls>(?!NoneType)\w+)' object is not subscriptable|'(?P<other>\w+)' object does not support indexing",
        "something is taken by index or key of a {cls}{other}, which has none",
        "Where that is the dataset, define __getitem__(self, index) in it; where it is a batch, look what the loader "
        "yields. A DataLoader is looped over: for one batch write next(iter(loader)).",
        "NielsRogge/Transformers-Tutorials#118",
    ),
    Known(
        r"Can't (?:pickle|get) local object '(?P<name>[^']+)'|Can't pickle <function (?P<anonymous><lambda>)",
        "loader workers get the dataset by pickling, and {name}{anonymous} can't be: it is a lambda or was defined "
        "inside a function",
        "Define it at the top of a module, or use num_workers=0.",
        "Teoge/DMPR-PS#17",
    ),
    Known(
        r"before the\s+current process has finished its bootstrapping phase",
        "the script starts processes (loader workers, DDP) when it is imported by them",
        'Put what the script does under `if __name__ == "__main__":`.',
        "tinkerhub/ComputerVision-with-PyTorch-Learning-Program#80",
    ),
    Known(
        r"DataLoader worker \(pid\(?s?\)? .* exited unexpectedly|DataLoader worker .* is killed by signal",
        "a loader's worker died: out of memory, or a crash in what it calls",
        "Use num_workers=0 once: the error then has its own message.",
        "Sense-X/X-Temporal#12",
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
        "index {i} is asked for of {n} entries: where the dataset raises it, __len__ says more than it has, or a "
        "label is not below the number of classes",
        "Return in __len__ the number of samples that __getitem__ can give; where a label is the index, number the "
        "classes from 0 and set the number of classes to fit.",
        "xingyizhou/CenterNet#322",
    ),
    Known(
        r"IndexError: (?P<kind>list|tuple) index out of range",
        "an index lies beyond the end of a {kind}: where the dataset raises it, __len__ says more than it has",
        "In a dataset return in __len__ the number of samples that __getitem__ can give; elsewhere print the {kind}.",
        "jakeoung/Unet_pytorch#4",
    ),
    Known(
        r"FileNotFoundError: .*'(?P<path>[^']+)'",
        "{path} is not there, seen from the folder in which the training runs",
        "Give an absolute path, or one from the script's own folder: Path(__file__).parent.",
        "fangpin/siamese-pytorch#2",
    ),
]  # fmt: skip
