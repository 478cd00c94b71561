"""Seven of the sixth file's twenty, of data and samplers."""

from __future__ import annotations

from tests.patients.patient import ADAM, Patient

PATIENTS = [
    # The training set is the whole data set, validation samples and all.
    Patient(
        "trained-on-the-held-out",
        "ratschlab/aestetik#8",
        """
from torch.utils.data import random_split


class Spots(pl.LightningDataModule):
    def __init__(self, validation_split=0.25):
        super().__init__()
        self.validation_split = validation_split
        self.dataset = classes(256)

    def setup(self, stage=None):
        held_out = int(len(self.dataset) * self.validation_split)
        sizes = [len(self.dataset) - held_out, held_out]
        self.train_dataset, self.val_dataset = random_split(self.dataset, sizes)

    def train_dataloader(self):
        return DataLoader(self.{TRAIN}, batch_size=16, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val_dataset, batch_size=16)


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))
"""
        + ADAM
        + """
pl.seed_everything(0)
pl.Trainer(max_epochs=4).fit(Net(), datamodule=Spots())
""",
        {"TRAIN": ("dataset", "train_dataset")},
        r"validation.*(sample|data).*train|train.*(sample|data).*validation",
        r"[Ss]plit|[Ss]ubset|other samples|leave|apart",
    ),
    # The window is normalized and what follows it, the target, is not.
    Patient(
        "target-in-its-own-units",
        "sktime/pytorch-forecasting#2360",
        """
class Windows(Dataset):
    def __init__(self, n=192, past=12):
        times = torch.arange(n + past + 1)
        noise = torch.randn(len(times), generator=torch.Generator().manual_seed(0))
        self.series = 100 + 10 * torch.sin(times / 3) + noise
        self.past = past

    def __len__(self):
        return len(self.series) - self.past

    def __getitem__(self, index):
        window = self.series[index : index + self.past]
        center, scale = window.mean(), window.std()
        target = self.series[index + self.past : index + self.past + 1]
        return (window - center) / scale, {TARGET}


class Forecaster(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 1))

    def training_step(self, batch, batch_idx):
        window, target = batch
        loss = F.mse_loss(self.net(window), target)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


pl.seed_everything(0)
pl.Trainer(max_epochs=5).fit(Forecaster(), DataLoader(Windows(), batch_size=16, shuffle=True))
""",
        {"TARGET": ("target", "(target - center) / scale")},
        r"target.*(scale|normali|standard|range|mean|magnitude|times)",
        r"[Nn]ormali|[Ss]tandardi|[Ss]cale",
    ),
    # The batch sampler says how many samples there are where the number of batches is asked for.
    Patient(
        "sampler-counts-samples",
        "Lightning-AI/pytorch-lightning#3789",
        """
import math

from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import Sampler


class ByLength(Sampler):
    def __init__(self, lengths, batch_size):
        self.lengths, self.batch_size = lengths, batch_size

    def __iter__(self):
        batches = self.lengths.argsort().split(self.batch_size)
        for number in torch.randperm(len(batches)).tolist():
            yield batches[number].tolist()

    def __len__(self):
        return {LENGTH}


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))
"""
        + ADAM
        + """
data = classes()
lengths = torch.randint(3, 40, (len(data),), generator=torch.Generator().manual_seed(1))
loader = DataLoader(data, batch_sampler=ByLength(lengths, 16))
trainer = pl.Trainer(max_epochs=4, callbacks=[ModelCheckpoint(monitor="val_loss")])
trainer.fit(Net(), loader, DataLoader(classes(64), batch_size=16))
""",
        {"LENGTH": ("len(self.lengths)", "math.ceil(len(self.lengths) / self.batch_size)")},
        r"(len|length|long|fewer|128).*(batches|sampler)|(batches|sampler).*(len|length|long|fewer|128)",
        r"__len__|number of batches",
    ),
    # The order of a set of strings is another one in each process, so a later process reads other embeddings.
    Patient(
        "vocabulary-of-a-set",
        "Lightning-AI/pytorch-lightning#4045",
        """
import os
import random

spoken = random.Random(0)
nouns, verbs = ("cat dog fish bird horse cow".split(), "runs sleeps eats jumps swims sings".split())
sentences = [(spoken.choice(nouns), spoken.choice(verbs), spoken.choice(nouns)) for _ in range(256)]
tokens = [token for sentence in sentences for token in sentence]
vocabulary = {VOCABULARY}
index = {token: number for number, token in enumerate(vocabulary)}
ids = torch.tensor([[index[token] for token in sentence] for sentence in sentences])
labels = torch.tensor([nouns.index(sentence[0]) // 2 for sentence in sentences])


class Reader(pl.LightningModule):
    def __init__(self, words):
        super().__init__()
        self.embedding = nn.Embedding(words, 8)
        self.head = nn.Linear(24, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.head(self.embedding(x).flatten(1)), y)
        self.log("train_loss", loss)
        return loss
"""
        + ADAM
        + """
path = "reader.ckpt"
trainer = pl.Trainer(max_epochs=4)
loader = DataLoader(TensorDataset(ids, labels), batch_size=16, shuffle=True)
trainer.fit(Reader(len(vocabulary)), loader, ckpt_path=path if os.path.exists(path) else None)
trainer.save_checkpoint(path)
""",
        {"VOCABULARY": ("list(set(tokens))", "sorted(set(tokens))")},
        r"\bset\b.*(order|hash|process)|(order|hash|process).*\bset\b",
        r"sorted",
    ),
    # Validation switches to its data and nothing switches back: from the second epoch on that is trained on.
    Patient(
        "data-left-switched",
        "bennyguo/instant-nsr-pl#31",
        """
class Rays(pl.LightningModule):
    def __init__(self, train_set, val_set):
        super().__init__()
        self.train_set, self.val_set = train_set, val_set
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def {HOOK}(self, *args):
        self.dataset = self.train_set

    def on_validation_start(self):
        self.dataset = self.val_set

    def loss(self, index):
        x, y = self.dataset.tensors
        chosen = torch.randint(len(x), (32,)) if self.training else index
        return F.cross_entropy(self.net(x[chosen]), y[chosen])

    def training_step(self, index, batch_idx):
        loss = self.loss(index)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, index, batch_idx):
        self.log("val_loss", self.loss(index))
"""
        + ADAM
        + """
x, y = classes(320).tensors
train_set, val_set = TensorDataset(x[:256], y[:256]), TensorDataset(x[256:], y[256:])
trainer = pl.Trainer(max_epochs=5)
trainer.fit(Rays(train_set, val_set), DataLoader(torch.arange(16)), DataLoader(torch.arange(64), batch_size=32))
""",
        {"HOOK": ("on_train_start", "on_train_batch_start")},
        r"validation.*(data|sample|switch|assign|self\.dataset)|(self\.dataset).*validation",
        r"on_train_(batch|epoch)_start|on_validation_(epoch_)?end",
    ),
    # The tokenizer gives one thing more than the step takes.
    Patient(
        "one-field-too-many",
        "zjunlp/KnowPrompt#13",
        """
class Relations(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        ids = torch.randint(0, 20, (12,), generator=torch.Generator().manual_seed(index))
        return ids, torch.ones_like(ids), torch.zeros_like(ids), ids[:3].argmax(), torch.tensor([1, 5])


class Prompted(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.head = nn.Linear(96, 3)

    def training_step(self, batch, batch_idx):
        {UNPACK} = batch
        hidden = self.embedding(input_ids) * attention_mask.unsqueeze(-1)
        return F.cross_entropy(self.head(hidden.flatten(1)), labels)
"""
        + ADAM
        + """
pl.Trainer(max_epochs=2).fit(Prompted(), DataLoader(Relations(), batch_size=16))
""",
        {
            "UNPACK": (
                "input_ids, attention_mask, labels, _",
                "input_ids, attention_mask, token_type_ids, labels, _",
            )
        },
        r"\b5\b.*\b4\b|\b4\b.*\b5\b|five.*four|four.*five",
        r"[Uu]npack|names|five|\b5\b",
    ),
    # That the pretrained weights can't be loaded is printed, and the training begins at random ones.
    Patient(
        "random-after-a-failure",
        "torchgeo/terratorch#320",
        """
def backbone():
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16))


def pretrained(path):
    net = backbone()
    try:
        net.load_state_dict(torch.load(path)["{KEY}"])
    except Exception as error:
        print(f"Failed to load pretrained weights ({error}), using random initialization")
    return net


class Segmenter(pl.LightningModule):
    def __init__(self, path):
        super().__init__()
        self.backbone = pretrained(path)
        self.head = nn.Linear(16, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.head(self.backbone(x)), y)
"""
        + ADAM
        + """
torch.save({"state_dict": backbone().state_dict()}, "prithvi.pt")
pl.Trainer(max_epochs=3).fit(Segmenter("prithvi.pt"), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"KEY": ("model", "state_dict")},
        r"KeyError|except|swallow|pretrained",
        r"state_dict|raise|key|except",
    ),
]
