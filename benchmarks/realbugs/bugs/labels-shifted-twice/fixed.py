"""A small causal language model that learns the names of numbers."""

import torch
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.realbugs.material import END, PAD, VOCABULARY, text
from benchmarks.realbugs.training import Tuning


def collate(samples):
    rows = torch.stack(samples)
    return {"input_ids": rows, "labels": rows.masked_fill(rows == PAD, -100)}


def build():
    names = text()
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=32, n_embd=32, n_layer=1, n_head=2, bos_token_id=END, eos_token_id=END
    )
    settings = {
        "per_device_train_batch_size": 32,
        "num_train_epochs": 3,
        "learning_rate": 0.01,
        "logging_steps": 5,
    }
    return Tuning(
        GPT2LMHeadModel(config),
        torch.utils.data.DataLoader(list(names[:800]), batch_size=32, shuffle=True, collate_fn=collate),
        lambda model, batch: model(**batch).loss,
        arguments={"train_dataset": list(names[:800]), "data_collator": collate},
        settings=settings,
    )


def measure(parts):
    rows = text()[800:]
    parts.model.eval()
    with torch.no_grad():
        logits = parts.model(rows).logits[:, :-1]
    return float(F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD))
