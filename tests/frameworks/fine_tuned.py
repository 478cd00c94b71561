"""Fine-tunings as users of Hugging Face's libraries write them: TRL, sentence-transformers and PEFT, of tiny models.

Nothing is downloaded: models are made from configurations, and tokenizers are trained on the spot.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch.utils.data import DataLoader
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    get_linear_schedule_with_warmup,
)

SUMS = [(f"What is {a} plus {b} ?", f" It is {a + b} .") for a in range(8) for b in range(8)]
THINGS = ("cat", "dog", "boat", "tree", "lamp", "coin", "door", "fish")
ALIKE = [(f"a {one} by the {other}", f"the {one} and a {other}") for one in THINGS for other in THINGS]


def tokenizer(pairs: list[tuple[str, str]]) -> Any:
    """Return a tokenizer of the words in some pairs of sentences."""
    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]"]
    made.train_from_iterator([" ".join(pair) for pair in pairs], trainers.WordLevelTrainer(special_tokens=special))
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="[SEP]", model_max_length=32, **names)


def settings(**more: Any) -> dict[str, Any]:
    common = {"per_device_train_batch_size": 8, "eval_strategy": "epoch", "logging_steps": 1, "save_strategy": "no"}
    return {**common, "report_to": "none", "use_cpu": True, **more}


def instructed() -> None:
    """Fine-tune a causal language model on answers, with TRL."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    torch.manual_seed(0)
    words = tokenizer(SUMS)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), pad_token_id=1, eos_token_id=3, **sizes))
    rows = Dataset.from_list([{"prompt": ask, "completion": answer} for ask, answer in SUMS])
    split = rows.train_test_split(16, seed=0)
    arguments = SFTConfig(
        "out", **settings(num_train_epochs=2, learning_rate=1e-2, bf16=False, gradient_checkpointing=False)
    )
    SFTTrainer(
        model, arguments, train_dataset=split["train"], eval_dataset=split["test"], processing_class=words
    ).train()


def embedded() -> None:
    """Fit an encoder of sentences, with sentence-transformers."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        losses,
    )
    from sentence_transformers import models as modules

    torch.manual_seed(0)
    words = tokenizer(ALIKE)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained("tiny")
    words.save_pretrained("tiny")
    model = SentenceTransformer(modules=[modules.Transformer("tiny"), modules.Pooling(32)], device="cpu")
    rows = Dataset.from_list([{"anchor": one, "positive": other} for one, other in ALIKE])
    split = rows.train_test_split(16, seed=0)
    SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments("out", **settings(num_train_epochs=3, learning_rate=5e-3)),
        train_dataset=split["train"],
        eval_dataset=split["test"],
        loss=losses.MultipleNegativesRankingLoss(model),
    ).train()


def _sequences(count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    ids = torch.randint(5, 60, (count, 12), generator=torch.Generator().manual_seed(seed))
    return [{"input_ids": row, "attention_mask": torch.ones_like(row), "labels": (row[0] > 30).long()} for row in ids]


def adapted() -> dict[str, float]:
    """Train a low-rank adapter by a loop of one's own, with PEFT."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    base = BertForSequenceClassification(BertConfig(vocab_size=60, num_labels=2, **sizes))
    adapter = LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=8, lora_dropout=0.1, target_modules=["query", "value"])
    model = get_peft_model(base, adapter)
    training, held_out = DataLoader(_sequences(160, 0), 16, shuffle=True), DataLoader(_sequences(64, 1), 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    scheduler = get_linear_schedule_with_warmup(optimizer, 2, 3 * len(training))
    accuracy = 0.0
    for _ in range(3):
        model.train()
        for batch in training:
            model(**batch).loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            right = sum((model(**batch).logits.argmax(-1) == batch["labels"]).sum().item() for batch in held_out)
        accuracy = right / 64
    model.save_pretrained("adapter")
    return {"accuracy": accuracy}
