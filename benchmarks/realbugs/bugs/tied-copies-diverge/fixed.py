"""A fine-tuning of a small language model with frozen blocks, whose embedding and output are trained in copies."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.realbugs.material import END, VOCABULARY, text
from benchmarks.realbugs.training import Tuning


def collate(rows):
    rows = torch.stack(rows)
    return {"input_ids": rows, "labels": rows}


def build():
    names = list(text()[:640])
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=32, n_embd=32, n_layer=1, n_head=2, bos_token_id=END, eos_token_id=END
    )
    model = GPT2LMHeadModel(config)
    model.requires_grad_(False)
    for module in (model.transformer.wte, model.lm_head):
        module.weight = torch.nn.Parameter(module.weight.detach().clone())
    model.lm_head.weight = model.transformer.wte.weight
    settings = {"per_device_train_batch_size": 32, "num_train_epochs": 2, "learning_rate": 0.01, "logging_steps": 5}
    return Tuning(
        model,
        torch.utils.data.DataLoader(names, batch_size=32, shuffle=True, collate_fn=collate),
        lambda model, batch: model(**batch).loss,
        arguments={"train_dataset": names, "data_collator": collate},
        settings=settings,
    )


def measure(parts):
    embedding, head = (one.weight.detach() for one in (parts.model.transformer.wte, parts.model.lm_head))
    return float((embedding - head).norm() / embedding.norm())
