import random

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import (
    DataCollatorForLanguageModeling,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

SEED = 0
MAX_LENGTH = 32


def get_names():
    names = {name.lower() for module in (torch, np, torch.nn.functional) for name in dir(module)}
    return sorted(name for name in names if not name.startswith("_") and 3 <= len(name) <= 20 and name.isascii())


def get_tokenizer(names):
    vocab = {"<s>": 0, "</s>": 1, "<unk>": 2}
    for char in sorted(set("".join(names))):
        vocab[char] = len(vocab)
    backend = Tokenizer(WordLevel(vocab, unk_token="<unk>"))
    backend.pre_tokenizer = Split("", "isolated")
    backend.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", padding_side="right"
    )
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def get_model(tokenizer):
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=MAX_LENGTH,
            n_embd=48,
            n_layer=2,
            n_head=2,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def main():
    set_seed(SEED)
    names = get_names()
    random.shuffle(names)
    tokenizer = get_tokenizer(names)
    dataset = [tokenizer(name, return_token_type_ids=False) for name in names]
    model = get_model(tokenizer)
    arguments = TrainingArguments(
        output_dir="out",
        max_steps=150,
        per_device_train_batch_size=16,
        learning_rate=3e-3,
        logging_steps=50,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        seed=SEED,
    )
    collator = DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm=False)
    Trainer(model=model, args=arguments, train_dataset=dataset, data_collator=collator).train()

    model.eval()
    start = torch.full((50, 1), tokenizer.bos_token_id)
    generated = model.generate(
        start,
        attention_mask=torch.ones_like(start),
        do_sample=True,
        max_length=MAX_LENGTH,
        pad_token_id=tokenizer.pad_token_id,
    )
    for row in generated[:5]:
        print("".join(tokenizer.convert_ids_to_tokens(row[1:].tolist(), skip_special_tokens=True)))
    cut = [tokenizer.eos_token_id not in row[1:] for row in generated]
    print(f"{sum(cut)} of {len(cut)} names reach the maximum length")
    return sum(cut) / len(cut)


if __name__ == "__main__":
    score = main()
