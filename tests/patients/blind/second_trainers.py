"""Two trainings with the Trainer of transformers of the second blind round.

They were written after the doctor was mended for the first one, before it saw any of these.
"""

from __future__ import annotations

from tests.patients.blind.case import Case

CASES = [
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
