"""Three Trainers of transformers of the first blind round, after the hits of fixed queries in their order."""

from __future__ import annotations

from tests.patients.blind.case import Case

CASES = [
    Case(
        "one-hot-labels-choose-another-loss",
        "activetigger/activetigger#1030",
        "The labels are one-hot rows of floats, so that the model takes the task for one of several labels and trains "
        "with binary cross-entropy in place of cross-entropy.",
        """
import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments


class Texts(Dataset):
    def __init__(self, count, seed):
        self.ids = torch.randint(5, 40, (count, 10), generator=torch.Generator().manual_seed(seed))
        self.topics = self.ids[:, 0] % 4

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, number):
        topic = self.topics[number]
        return {"input_ids": self.ids[number], "labels": {LABEL}}


torch.manual_seed(0)
config = BertConfig(
    vocab_size=40, num_labels=4, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
)
model = BertForSequenceClassification(config)
arguments = TrainingArguments(
    "out", num_train_epochs=5, per_device_train_batch_size=16, learning_rate=5e-3, save_strategy="no",
    report_to="none", use_cpu=True,
)
trainer = Trainer(model, arguments, train_dataset=Texts(320, 0), eval_dataset=Texts(64, 1))
trainer.train()
held_out = Texts(200, 2)
model.eval()
with torch.no_grad():
    score = torch.nn.functional.cross_entropy(model(held_out.ids).logits, held_out.topics).item()
""",
        {"LABEL": ("torch.nn.functional.one_hot(topic, 4).float()", "topic")},
        r"(one-hot|one class|exactly one).*(binary|BCE|multi_label)|"
        r"(binary|BCE|multi_label).*(one-hot|one class|exactly one)",
        r"cross.entropy|single_label|class (index|number)|argmax|integers?",
        1.2,
    ),
    Case(
        "padding-in-the-loss",
        "open-jarvis/OpenJarvis#521",
        "The labels are the input_ids with their padding, which is not masked with -100: most terms of the loss are "
        "about padding.",
        """
import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

EOS = 0


class Dialogs(Dataset):
    def __init__(self, count, seed):
        draw = torch.Generator().manual_seed(seed)
        self.rows = []
        for _ in range(count):
            length = int(torch.randint(5, 9, (1,), generator=draw))
            start = int(torch.randint(1, 30, (1,), generator=draw))
            pace = int(torch.randint(1, 4, (1,), generator=draw))
            ids = torch.full((32,), EOS)
            ids[:length] = (start + pace * torch.arange(length)) % 29 + 1
            mask = (torch.arange(32) <= length).long()
            self.rows.append((ids, mask))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, number):
        ids, mask = self.rows[number]
        labels = ids.clone()
{MASKED}
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


torch.manual_seed(0)
config = GPT2Config(
    vocab_size=30, n_positions=32, n_embd=32, n_layer=1, n_head=2, bos_token_id=EOS, eos_token_id=EOS, pad_token_id=EOS
)
model = GPT2LMHeadModel(config)
arguments = TrainingArguments(
    "out", num_train_epochs=4, per_device_train_batch_size=16, learning_rate=3e-3, save_strategy="no",
    report_to="none", use_cpu=True,
)
trainer = Trainer(model, arguments, train_dataset=Dialogs(256, 0))
trainer.train()
model.eval()
rows = Dialogs(100, 1).rows
ids, mask = torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])
with torch.no_grad():
    logits = model(ids, attention_mask=mask).logits[:, :-1]
    wanted = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
    score = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten()).item()
""",
        {"MASKED": ("", "        labels[mask == 0] = -100")},
        r"padd?i?n?g?.*(loss|labels)|labels.*padding",
        r"-100",
        1.1,
    ),
    Case(
        "masked-model-copies",
        "huggingface/transformers#20797",
        "The labels of a masked language model hold every token, not only the masked ones: most of the loss rewards "
        "copying the input.",
        """
import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForMaskedLM, Trainer, TrainingArguments

MASK = 1


class Sentences(Dataset):
    def __init__(self, count, seed):
        draw = torch.Generator().manual_seed(seed)
        topic = torch.randint(0, 8, (count, 1), generator=draw)
        self.ids = 2 + topic + 8 * torch.randint(0, 4, (count, 24), generator=draw)
        self.ids[:, 3] = 34 + topic[:, 0]
        self.hidden = torch.rand(count, 24, generator=draw) < 0.02
        self.hidden[:, 3] = True

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, number):
        ids, hidden = self.ids[number], self.hidden[number]
        labels = ids.clone()
{ONLY}
        return {"input_ids": ids.masked_fill(hidden, MASK), "labels": labels}


torch.manual_seed(0)
config = BertConfig(
    vocab_size=42, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)
model = BertForMaskedLM(config)
arguments = TrainingArguments(
    "out", num_train_epochs=11, per_device_train_batch_size=16, learning_rate=5e-3, save_strategy="no",
    report_to="none", use_cpu=True,
)
trainer = Trainer(model, arguments, train_dataset=Sentences(320, 0))
trainer.train()
model.eval()
held_out = Sentences(100, 1)
with torch.no_grad():
    logits = model(held_out.ids.masked_fill(held_out.hidden, MASK)).logits
    score = torch.nn.functional.cross_entropy(logits[held_out.hidden], held_out.ids[held_out.hidden]).item()
""",
        {"ONLY": ("", "        labels[~hidden] = -100")},
        r"(labels?|tokens?|targets?).*(equal|same|copy|copied|not masked|unmasked|as.*input)",
        r"-100",
        1.1,
    ),
]
