"""The doctor on scripts that train with the Trainer of transformers: the cause is named first, a healthy one is well.

The ill ones are after public threads: losses that the filter of the log hides (huggingface/trl#6702), labels that are
all masked (huggingface/trl#6668), an optimizer that trains nothing (huggingface/trl#6700).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from faultlab.doctor.examination import examine
from faultlab.doctor.finding import OK
from faultlab.engines import Engine, create
from tests.patients.loop_scripts import Ill

pytestmark = pytest.mark.nightly(
    reason="scripts of the Trainer, one or more trainings each; loops run in the quick ring"
)

HEALTHY = """\
import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments


class Rows(Dataset):
    def __init__(self, count, seed):
        self.ids = torch.randint(20, (count, 8), generator=torch.Generator().manual_seed(seed))
        self.labels = (self.ids[:, 0] < 10).long()

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, number):
        return {"input_ids": self.ids[number], "labels": self.labels[number]}


class WeightedTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = nn.functional.cross_entropy(outputs.logits, labels, weight=torch.tensor([1.0, 1.5]))
        return (loss, outputs) if return_outputs else loss


torch.manual_seed(0)
sizes = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
model = BertForSequenceClassification(BertConfig(vocab_size=20, num_labels=2, **sizes))
arguments = TrainingArguments(
    "out",
    num_train_epochs=4,
    per_device_train_batch_size=16,
    learning_rate=5e-3,
    eval_strategy="epoch",
    save_strategy="no",
    logging_steps=4,
    report_to="none",
    use_cpu=True,
)
trainer = WeightedTrainer(model, arguments, train_dataset=Rows(160, 0), eval_dataset=Rows(64, 1))
trainer.train()
"""
SUMMED = HEALTHY.replace("labels, weight=torch.tensor([1.0, 1.5]))", 'labels, reduction="sum") / len(labels)')
LANGUAGE = """\
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments


def rows(count, seed):
    generator = torch.Generator().manual_seed(seed)
    start, pace = (torch.randint(low, high, (count, 1), generator=generator) for low, high in ((2, 29), (1, 4)))
    return [{"input_ids": ids, "labels": ids} for ids in (start + pace * torch.arange(16)) % 29 + 1]


def collate(samples):
    batch = {name: torch.stack([one[name] for one in samples]) for name in ("input_ids", "labels")}
    return batch


torch.manual_seed(0)
config = GPT2Config(vocab_size=30, n_positions=16, n_embd=32, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
arguments = TrainingArguments(
    "out",
    num_train_epochs=3,
    per_device_train_batch_size=16,
    learning_rate=5e-3,
    eval_strategy="epoch",
    save_strategy="no",
    report_to="none",
    use_cpu=True,
)
trainer = Trainer(GPT2LMHeadModel(config), arguments, collate, train_dataset=rows(256, 0), eval_dataset=rows(64, 1))
trainer.train()
"""
LOSS = "        return (loss, outputs)"
ILL = (
    Ill(
        "nan-hidden-by-the-log",
        HEALTHY,
        [(LOSS, f"        loss = torch.log(0.68 - loss)\n{LOSS}")],
        "the loss is not finite in",
        "",
    ),
    Ill(
        "labels-all-masked",
        HEALTHY,
        [('"labels": self.labels[number]}', '"labels": torch.full_like(self.labels[number], -100)}')],
        "every label is -100, which the loss ignores",
        "masked",
    ),
    Ill(
        "optimizer-of-another-model",
        HEALTHY,
        [
            ("arguments = ", "other = BertForSequenceClassification(model.config)\narguments = "),
            ("Rows(64, 1))", "Rows(64, 1), optimizers=(torch.optim.AdamW(other.parameters()), None))"),
        ],
        "optimizer holds none of the weights",
        "after the model",
    ),
    Ill(
        "warm-up-longer-than-the-training",
        HEALTHY,
        [("    learning_rate=5e-3,\n", "    learning_rate=5e-3,\n    warmup_steps=5000,\n")],
        "still warming up when the training ends",
        "warm-up",
    ),
    Ill(
        "labels-of-one-class",
        HEALTHY,
        [("(self.ids[:, 0] < 10)", "(self.ids[:, 0] < 20)")],
        "labels are class 1",
        "how labels are read",
    ),
    Ill(
        "labels-shifted-twice",
        LANGUAGE,
        [
            (
                "    return batch",
                '    batch["labels"] = torch.nn.functional.pad(batch["labels"][:, 1:], (0, 1), value=-100)\n'
                "    return batch",
            )
        ],
        "shifted twice.*is given are shifted already",
        "equal to input_ids",
    ),
    Ill(
        "loss-made-again",
        HEALTHY,
        [(LOSS, f"        loss = torch.tensor(loss.item(), requires_grad=True)\n{LOSS}")],
        r"no graph leads from the loss",
        "requires_grad",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if find_spec("transformers") is None:
        pytest.skip("the extra `hf` is not installed")
    working = create("fork", 2)
    yield working
    working.close()


@pytest.mark.parametrize("ill", ILL, ids=lambda one: one.name)
def test_the_cause_of_an_ill_trainer_is_named_first(ill: Ill, tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "train.py").write_text(ill.text())
    found = list(examine(str(tmp_path / "train.py"), 120, engine=engine))
    assert ill.named_first(found), [one for one in found if one.verdict != OK]


def test_a_healthy_trainer_is_well(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "train.py").write_text(HEALTHY)
    # Models of transformers divide a sum by the number of tokens or samples.
    (tmp_path / "summed.py").write_text(SUMMED)
    found = list(examine(str(tmp_path / "summed.py"), 120, engine=engine))
    assert [one for one in found if one.verdict != OK] == []
    (tmp_path / "language.py").write_text(LANGUAGE)
    found = list(examine(str(tmp_path / "language.py"), 120, engine=engine))
    assert [one for one in found if one.verdict != OK] == []
    found = list(examine(str(tmp_path / "train.py"), 120, engine=engine))
    assert [one for one in found if one.verdict != OK] == []
