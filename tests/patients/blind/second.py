"""Ten of the second blind round, written after the doctor was mended for the first one, before it saw any of these."""

from __future__ import annotations

from tests.patients.blind.case import Case

LOOPS = [
    Case(
        "step-missing",
        "microsoft/nni#3339",
        "The loop computes the loss and its gradients and never steps the optimizer.",
        """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ImageTrainer:
    def __init__(self, model, data, epochs):
        self.model, self.epochs = model, epochs
        self.loader = DataLoader(data, batch_size=32, shuffle=True)
        self.loss_fn = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def training_step(self, batch):
        x, y = batch
        return self.loss_fn(self.model(x), y)

    def fit(self):
        self.model.train()
        for epoch in range(self.epochs):
            for batch in self.loader:
                self.optimizer.zero_grad()
                loss = self.training_step(batch)
                loss.backward(){STEP}
            print(epoch, loss.item())


torch.manual_seed(0)
x = torch.randn(512, 1, 5, 5)
y = x.flatten(1)[:, :3].argmax(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(25, 32), nn.ReLU(), nn.Linear(32, 3))
ImageTrainer(model, TensorDataset(x, y), epochs=5).fit()
with torch.no_grad():
    score = nn.functional.cross_entropy(model(x), y).item()
""",
        {"STEP": ("", "\n                self.optimizer.step()")},
        r"never stepped",
        r"optimizer\.step\(\)",
    ),
    Case(
        "wrapper-bypassed",
        "gentaiscool/end2end-asr-pytorch#4",
        "The loop steps the optimizer inside the schedule's wrapper and not the wrapper, which alone sets the learning "
        "rate: it stays at the 0 that it was made with.",
        """
import torch
from torch import nn
from torch.nn import functional as F


class NoamOpt:
    def __init__(self, size, factor, warmup, optimizer):
        self.optimizer, self.warmup, self.factor, self.size = optimizer, warmup, factor, size
        self._step = 0

    def rate(self):
        return self.factor * self.size**-0.5 * min(self._step**-0.5, self._step * self.warmup**-1.5)

    def step(self):
        self._step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()

    def zero_grad(self):
        self.optimizer.zero_grad()


torch.manual_seed(0)
frames = torch.randn(480, 6, 8)
words = frames.mean(1)[:, :4].argmax(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 4))
opt = NoamOpt(64, 1.0, 40, torch.optim.Adam(model.parameters(), lr=0, betas=(0.9, 0.98), eps=1e-9))
for epoch in range(6):
    model.train()
    for rows in torch.randperm(480).split(24):
        opt.zero_grad()
        loss = F.cross_entropy(model(frames[rows]), words[rows])
        loss.backward()
        {STEPPED}.step()
with torch.no_grad():
    score = F.cross_entropy(model(frames), words).item()
""",
        {"STEPPED": ("opt.optimizer", "opt")},
        r"learning rate is 0",
        r"rate|opt\.step|wrapper",
    ),
    Case(
        "test-loss-divided-by-samples",
        "pytorch/tutorials#1486",
        "The test loss sums the means of the batches and divides by the number of samples: it is too small by the "
        "batch size.",
        """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
features = torch.randn(1000, 16)
labels = features[:, :5].argmax(1)
train_dataloader = DataLoader(TensorDataset(features[:800], labels[:800]), batch_size=40, shuffle=True)
test_dataloader = DataLoader(TensorDataset(features[800:], labels[800:]), batch_size=40)
model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 5))
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(dataloader, model):
    model.train()
    for X, y in dataloader:
        loss = loss_fn(model(X), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test(dataloader, model):
    size, num_batches = len(dataloader.dataset), len(dataloader)
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for X, y in dataloader:
            pred = model(X)
            test_loss += loss_fn(pred, y).item()
            correct += (pred.argmax(1) == y).type(torch.float).sum().item()
    test_loss /= {COUNT}
    correct /= size
    print(f"Accuracy: {100 * correct:>0.1f}%, Avg loss: {test_loss:>8f}")
    return test_loss


for epoch in range(6):
    last = train(train_dataloader, model)
    test_loss = test(test_dataloader, model)
with torch.no_grad():
    score = abs(test_loss - loss_fn(model(features[800:]), labels[800:]).item())
""",
        {"COUNT": ("size", "num_batches")},
        r"test_loss.*divided.*(200|samples)",
        r"\b5\b|batches",
    ),
    Case(
        "loss-overwritten-in-the-sum",
        "pytorch/tutorials#913",
        "The evaluation gives each batch's loss the name of the sum, so that the sum starts again with each batch: the "
        "average is twice the last batch's loss divided by the number of batches.",
        """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
texts = torch.randint(0, 50, (900, 12))
news = (texts < 25).sum(1).gt(6).long()
model = nn.Sequential(nn.EmbeddingBag(50, 16), nn.Linear(16, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def train_func(data_):
    train_loss = 0
    data = DataLoader(data_, batch_size=30, shuffle=True)
    for text, cls in data:
        optimizer.zero_grad()
        loss = criterion(model(text), cls)
        train_loss += loss.item()
        loss.backward()
        optimizer.step()
    return train_loss / len(data)


def test(data_):
    {SUM} = 0
    acc = 0
    data = DataLoader(data_, batch_size=30)
    for text, cls in data:
        with torch.no_grad():
            output = model(text)
            loss = criterion(output, cls)
            {SUM} += loss.item()
            acc += (output.argmax(1) == cls).sum().item()
    return {SUM} / len(data), acc / len(data_)


for epoch in range(6):
    train_loss = train_func(TensorDataset(texts[:600], news[:600]))
    valid_loss, valid_acc = test(TensorDataset(texts[600:], news[600:]))
    print(epoch, train_loss, float(valid_loss), valid_acc)
with torch.no_grad():
    score = abs(float(valid_loss) - criterion(model(texts[600:]), news[600:]).item())
""",
        {"SUM": ("loss", "total_loss")},
        r"(valid_loss|validation|loss).*(last batch|overwritten|only one|2 times|twice)",
        r"name|sum|total|variable|add",
    ),
    Case(
        "mean-of-unequal-batches",
        "mlcommons/training#89",
        "The test accuracy is the mean of the batches' means, although the last batch is smaller: its samples count "
        "several times as much.",
        """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
reviews = torch.randn(740, 10)
positive = (reviews[:, 0] + reviews[:, 1] > 0).long()
held_out, truth = reviews[600:], positive[600:].clone()
truth[-12:] = 1 - truth[-12:]
train_loader = DataLoader(TensorDataset(reviews[:600], positive[:600]), batch_size=30, shuffle=True)
test_loader = DataLoader(TensorDataset(held_out, truth), batch_size=64)
model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(5):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    accuracies, sizes = [], []
    with torch.no_grad():
        for x, y in test_loader:
            accuracies.append((model(x).argmax(1) == y).float().mean().item())
            sizes.append(len(y))
    test_acc = {MEAN}
    print(epoch, test_acc)
with torch.no_grad():
    score = abs(test_acc - (model(held_out).argmax(1) == truth).float().mean().item())
""",
        {
            "MEAN": (
                "sum(accuracies) / len(accuracies)",
                "sum(a * n for a, n in zip(accuracies, sizes)) / sum(sizes)",
            )
        },
        r"test_acc.*(mean|average).*(batch).*(smaller|size|unequal|last)",
        r"size|samples|weight",
    ),
]

LIGHTNING = [
    Case(
        "monitor-under-another-name",
        "facebookresearch/fastMRI#108",
        "The checkpoint monitors val_loss, and the module logs it as validation_loss: the training ends with an error "
        "at the first validation.",
        """
import tempfile

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Reconstruction(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 16))

    def training_step(self, batch, batch_idx):
        loss = F.l1_loss(self.net(batch[0]), batch[0])
        self.log("loss", loss.detach())
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("validation_loss", F.l1_loss(self.net(batch[0]), batch[0]))

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.parameters(), lr=0.002)


pl.seed_everything(0)
x = torch.randn(200, 4) @ torch.randn(4, 16)
checkpoint = ModelCheckpoint(dirpath=tempfile.mkdtemp(), monitor="{MONITOR}", mode="min", save_top_k=1)
trainer = pl.Trainer(
    max_epochs=4, accelerator="cpu", logger=False, callbacks=[checkpoint], enable_progress_bar=False
)
model = Reconstruction()
try:
    trainer.fit(
        model,
        DataLoader(TensorDataset(x[:160]), batch_size=20, shuffle=True),
        DataLoader(TensorDataset(x[160:]), batch_size=40),
    )
finally:
    score = 1.0 if checkpoint.best_model_path else 10.0
""",
        {"MONITOR": ("val_loss", "validation_loss")},
        r"val_loss.*(not|which no|never).*log|monitor.*val_loss",
        r"validation_loss|self\.log\(\"?'?val_loss",
    ),
    Case(
        "trains-in-eval-mode",
        "Lightning-AI/pytorch-lightning#20216",
        "A hook puts the module into eval mode, and Lightning does not put it back for the training step: dropout and "
        "batch norm are off in the training.",
        """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(30, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(64, 2)

    def forward(self, x):
        return self.head(self.body(x))

    def on_train_start(self):
        self.eval()
        with torch.no_grad():
            print("before training", self(torch.zeros(2, 30)).softmax(1)[0])
{BACK}
    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


pl.seed_everything(0)
x = 40 + 10 * torch.randn(160, 30)
y = (x[:, 0] > 40).long()
model = Net()
trainer = pl.Trainer(
    max_epochs=10, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(model, DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True))
mean = model.body[1].running_mean
with torch.no_grad():
    score = (mean - model.body[0](x).mean(0)).abs().mean().item() / model.body[0](x).mean(0).abs().mean().item()
""",
        {"BACK": ("", "        self.train()\n")},
        r"eval",
        r"train\(\)",
    ),
    Case(
        "validation-not-normalized",
        "PolymathicAI/the_well#68",
        "The data module passes the normalization to the training dataset alone: validation inputs have another scale.",
        """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class Fields(Dataset):
    def __init__(self, number, seed, use_normalization=False):
        self.x = 300 + 20 * torch.randn(number, 10, generator=torch.Generator().manual_seed(seed))
        self.y = (self.x[:, :3] - 300).argmax(1)
        self.use_normalization = use_normalization

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        x = self.x[index]
        if self.use_normalization:
            x = (x - 300) / 20
        return x, self.y[index]


class FieldsModule(pl.LightningDataModule):
    def __init__(self, use_normalization=True):
        super().__init__()
        self.train_dataset = Fields(400, 0, use_normalization=use_normalization)
        self.val_dataset = Fields(100, 1{NORMALIZED})

    def train_dataloader(self):
        return DataLoader(self.train_dataset, batch_size=20, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val_dataset, batch_size=50)


class Surrogate(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


pl.seed_everything(0)
trainer = pl.Trainer(
    max_epochs=5, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(Surrogate(), datamodule=FieldsModule())
score = float(trainer.callback_metrics["val_loss"])
""",
        {"NORMALIZED": ("", ", use_normalization=use_normalization")},
        r"validation.*(scale|mean|distribution|normal|differ)",
        r"normal|same (transform|preprocessing)",
    ),
]

TRAINERS = [
    Case(
        "collator-replaces-the-labels",
        "PhoebusSi/Alpaca-CoT#143",
        "DataCollatorForLanguageModeling makes the labels anew from input_ids and drops the dataset's own, in which "
        "the prompt is masked.",
        """
import torch
from torch.utils.data import Dataset
from transformers import DataCollatorForLanguageModeling, GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments


class Tokenizer:
    pad_token, pad_token_id, mask_token, padding_side = "<pad>", 0, None, "right"
    deprecation_warnings = {}

    def pad(self, rows, return_tensors=None, **kwargs):
        names = rows[0].keys()
        return {name: torch.stack([torch.as_tensor(row[name]) for row in rows]) for name in names}

    def __call__(self, *args, **kwargs):
        raise NotImplementedError


class Instructions(Dataset):
    def __init__(self, count, seed):
        draw = torch.Generator().manual_seed(seed)
        prompt = torch.randint(1, 40, (count, 20), generator=draw)
        answer = (prompt[:, -1:] + torch.arange(1, 5)) % 39 + 1
        self.ids = torch.cat([prompt, answer], 1)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, number):
        ids = self.ids[number]
        labels = ids.clone()
        labels[:20] = -100
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def keep_labels(rows):
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


torch.manual_seed(0)
model = GPT2LMHeadModel(
    GPT2Config(vocab_size=40, n_positions=24, n_embd=48, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
)
arguments = TrainingArguments(
    "out", num_train_epochs=5, per_device_train_batch_size=16, learning_rate=3e-3, save_strategy="no",
    report_to="none", use_cpu=True,
)
trainer = Trainer(model, arguments, data_collator={COLLATOR}, train_dataset=Instructions(320, 0))
trainer.train()
model.eval()
held_out = Instructions(100, 1).ids
with torch.no_grad():
    logits = model(held_out).logits[:, 19:-1]
    score = torch.nn.functional.cross_entropy(logits.flatten(0, 1), held_out[:, 20:].flatten()).item()
""",
        {"COLLATOR": ("DataCollatorForLanguageModeling(Tokenizer(), mlm=False)", "keep_labels")},
        r"(collator|labels).*(replace|overwrit|drop|own labels|not those|dataset)",
        r"collator",
        1.1,
    ),
    Case(
        "attention-mask-of-zeros",
        "coreweave/kubernetes-cloud#146",
        "The dataset gives attention masks that are all 0: the model attends to nothing that it should.",
        """
import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

PAD = 0


class Texts(Dataset):
    def __init__(self, count, seed):
        draw = torch.Generator().manual_seed(seed)
        self.ids = torch.randint(4, 30, (count, 16), generator=draw)
        lengths = torch.randint(4, 10, (count, 1), generator=draw)
        self.topics = (self.ids[:, 1] >= 17).long()
        self.ids = self.ids.masked_fill(torch.arange(16) >= lengths, PAD)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, number):
        ids = self.ids[number]
        return {"input_ids": ids, "attention_mask": {MASK}, "labels": self.topics[number]}


torch.manual_seed(0)
config = BertConfig(
    vocab_size=30, num_labels=2, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
)
model = BertForSequenceClassification(config)
arguments = TrainingArguments(
    "out", num_train_epochs=5, per_device_train_batch_size=16, learning_rate=3e-3, save_strategy="no",
    report_to="none", use_cpu=True,
)
Trainer(model, arguments, train_dataset=Texts(400, 0)).train()
model.eval()
held_out = Texts(200, 1)
mask = torch.stack([held_out[number]["attention_mask"] for number in range(200)])
with torch.no_grad():
    logits = model(held_out.ids, attention_mask=mask).logits
    score = torch.nn.functional.cross_entropy(logits, held_out.topics).item()
""",
        {"MASK": ("torch.zeros_like(ids)", "(ids != PAD).long()")},
        r"attention_mask.*(all|only|every|0)",
        r"attention_mask|pad|1 for|tokeni[sz]er",
        1.1,
    ),
]
CASES = [*LOOPS, *LIGHTNING, *TRAINERS]
