"""A small causal language model that is trained with a linear warmup, given in steps or as a ratio."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.realbugs.material import END, VOCABULARY, text
from benchmarks.realbugs.training import Tuning

OPTIONS = {"warmup_steps": 10, "warmup_ratio": 0.0}
STEPS = 30


def warmup(steps, ratio):
    if ratio > 0:
        steps = int(STEPS * ratio)
    return steps


def collate(rows):
    rows = torch.stack(rows)
    return {"input_ids": rows, "labels": rows}


def build():
    names = list(text()[:800])
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=32, n_embd=32, n_layer=1, n_head=2, bos_token_id=END, eos_token_id=END
    )
    settings = {
        "per_device_train_batch_size": 16,
        "max_steps": STEPS,
        "learning_rate": 0.01,
        "warmup_steps": warmup(OPTIONS["warmup_steps"], OPTIONS["warmup_ratio"]),
        "logging_steps": 1,
    }
    return Tuning(
        GPT2LMHeadModel(config),
        torch.utils.data.DataLoader(names, batch_size=16, shuffle=True, collate_fn=collate),
        lambda model, batch: model(**batch).loss,
        arguments={"train_dataset": names, "data_collator": collate},
        settings=settings,
    )


def measure(parts):
    rates = [one["learning_rate"] for one in parts.kept["trainer"].state.log_history if "learning_rate" in one]
    return rates[0] / max(rates)
