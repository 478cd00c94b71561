"""Healthy trainings by the Trainer of transformers: tiny models from configurations, data that are made up."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from tests.healthy import data, generative
from tests.healthy.looping import Trained
from tests.healthy.training import Goal, healthy

_healthy = functools.partial(healthy, needs="transformers", by=Trained)


class Rows(Dataset[Any]):
    """Samples as dicts, each of one row of each tensor."""

    def __init__(self, **columns: Tensor) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: column[index] for name, column in self.columns.items()}


class Streamed(IterableDataset[Any]):
    """The same without a length."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __iter__(self) -> Any:
        return (self.rows[int(index)] for index in torch.randperm(len(self.rows)))


def _classified(count: int, seed: int) -> Rows:
    """Sequences of 16 tokens, whose class is that of the first token."""
    tokens = torch.randint(2, 8, (count, 16), generator=torch.Generator().manual_seed(seed))
    return Rows(input_ids=tokens, labels=(tokens[:, 0] < 5).long())


def _language(count: int, seed: int) -> Rows:
    tokens = generative._sentences(count, seed)
    return Rows(input_ids=tokens, attention_mask=(tokens != 0).long(), labels=tokens.masked_fill(tokens == 0, -100))


def _bert() -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    return BertForSequenceClassification(BertConfig(vocab_size=8, max_position_embeddings=16, num_labels=2, **sizes))


def _gpt() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(vocab_size=12, bos_token_id=1, eos_token_id=1, n_positions=24, n_embd=32, n_layer=1, n_head=2)
    )


def _train(run: Trained, model: Any, rows: tuple[Any, Any], resume: bool = False, metrics: Any = None,
           **options: Any) -> None:  # fmt: skip
    from transformers import PrinterCallback, Trainer, TrainingArguments

    settings = {"per_device_train_batch_size": 32, "per_device_eval_batch_size": 64, "num_train_epochs": 3,
                "learning_rate": 5e-3, "logging_steps": 8, "eval_strategy": "epoch", "save_strategy": "no",
                "disable_tqdm": True, **options}  # fmt: skip
    arguments = TrainingArguments(str(run.folder), report_to="none", use_cpu=True, **settings)
    train, validation = rows

    def made(model: Any) -> Any:
        trainer = Trainer(model, arguments, train_dataset=train, eval_dataset=validation, compute_metrics=metrics)
        trainer.remove_callback(PrinterCallback)
        return trainer

    trainer = made(model)
    run.note(trainer.evaluate()["eval_loss"])
    run(trainer)
    if resume:
        trainer.args.num_train_epochs *= 2
        trainer = run(made(trainer.model), resume_from_checkpoint=True)
    run.note(trainer.evaluate()["eval_loss"])


def _classification() -> tuple[Rows, Rows]:
    return _classified(320, 0), _classified(96, 1)


SORTED = Goal("eval_loss", "min", 0.55)


@_healthy("Classification of sequences, evaluated after each epoch.", SORTED)
def trainer(run: Trained) -> None:
    _train(run, _bert(), _classification())


@_healthy("Evaluated every 15 steps, with metrics computed from the logits.", SORTED)
def trainer_with_metrics(run: Trained) -> None:
    def metrics(found: Any) -> dict[str, float]:
        return {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())}

    _train(run, _bert(), _classification(), metrics=metrics, eval_strategy="steps", eval_steps=15)


@_healthy("Gradients of four batches, which do not go evenly into an epoch.", SORTED)
def trainer_that_accumulates(run: Trained) -> None:
    _train(run, _bert(), _classification(), gradient_accumulation_steps=3, per_device_train_batch_size=16)


@_healthy("Two epochs, and two more that are resumed from a checkpoint.", SORTED)
def trainer_that_resumes(run: Trained) -> None:
    _train(run, _bert(), _classification(), resume=True, num_train_epochs=2, save_strategy="epoch")


@_healthy("No evaluation, a cosine schedule with warm-up, and uneven last batches.", SORTED)
def trainer_without_evaluation(run: Trained) -> None:
    _train(run, _bert(), (_classified(330, 0), _classified(96, 1)), eval_strategy="no",
           lr_scheduler_type="cosine", warmup_steps=8)  # fmt: skip


@_healthy("Mixed precision with bfloat16, and checkpointed activations.", SORTED)
def trainer_in_mixed_precision(run: Trained) -> None:
    _train(run, _bert(), _classification(), bf16=True, gradient_checkpointing=True)


@_healthy("A stream without a length, for a number of steps.", SORTED)
def trainer_of_a_stream(run: Trained) -> None:
    train, validation = _classification()
    _train(run, _bert(), (Streamed(train), validation), max_steps=30, eval_strategy="steps", eval_steps=15)


@_healthy("A causal language model over padded sequences.", Goal("eval_loss", "min", 1.6))
def trainer_of_language(run: Trained) -> None:
    _train(
        run, _gpt(), (_language(448, 0), _language(128, 1)), weight_decay=0.01, max_grad_norm=1.0, num_train_epochs=4
    )


@_healthy("A hundred flowers, and a model that is a module of one's own.", Goal("eval_loss", "min", 0.6))
def trainer_of_tiny_data(run: Trained) -> None:
    train, validation = (Rows(points=d.tensors[0], labels=d.tensors[1]) for d in data.table("iris"))
    _train(run, _Own(), (train, validation), num_train_epochs=12, learning_rate=2e-2)


class _Own(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))

    def forward(self, points: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.net(points)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


@healthy("Low-rank adapters of PEFT, and new embeddings, beside a language model that is frozen.",
         Goal("eval_loss", "min", 1.95), needs="peft", by=Trained)  # fmt: skip
def trainer_of_adapters(run: Trained) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=8, lora_alpha=32, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True,
                        modules_to_save=["wte"])  # fmt: skip
    _train(run, get_peft_model(_gpt(), config), (_language(448, 0), _language(128, 1)), learning_rate=1e-2)
