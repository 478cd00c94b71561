"""A fine-tuning on answers after prompts that carry nothing to learn."""

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.realbugs.material import END, PAD, VOCABULARY, text
from benchmarks.realbugs.training import Tuning

PROMPT, ANSWER, IGNORED = 16, 14, -100


def examples(names, seed):
    prompts = torch.randint(2, VOCABULARY, (len(names), PROMPT), generator=torch.Generator().manual_seed(seed))
    rows = torch.cat([prompts, names], 1)
    labels = rows.clone()
    labels[:, :PROMPT] = IGNORED
    return [{"input_ids": row, "labels": label} for row, label in zip(rows, labels)]


def collate(samples):
    batch = {key: torch.stack([sample[key] for sample in samples]) for key in ("input_ids", "labels")}
    labels = batch["labels"]
    batch["labels"] = labels.masked_fill(labels == PAD, IGNORED)
    return batch


def build():
    train_set = examples(text(ANSWER)[:700], 0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=32, n_embd=24, n_layer=1, n_head=2, bos_token_id=END, eos_token_id=END
    )
    settings = {
        "per_device_train_batch_size": 32,
        "num_train_epochs": 2,
        "learning_rate": 0.01,
        "logging_steps": 5,
    }
    loader = DataLoader(train_set, batch_size=32, shuffle=True, collate_fn=collate)
    arguments = {"train_dataset": train_set, "data_collator": collate}
    objective = lambda model, batch: model(**batch).loss  # noqa: E731
    return Tuning(GPT2LMHeadModel(config), loader, objective, arguments=arguments, settings=settings)


def measure(parts):
    batch = collate(examples(text(ANSWER)[800:], 1))
    parts.model.eval()
    with torch.no_grad():
        logits = parts.model(batch["input_ids"]).logits[:, PROMPT:-1]
    return float(F.cross_entropy(logits.flatten(0, 1), batch["labels"][:, PROMPT + 1 :].flatten()))
