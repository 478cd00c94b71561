"""The digits classifier again, trained by the Trainer of Hugging Face transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import RandomSampler, Sampler, TensorDataset
from transformers import PreTrainedConfig, PreTrainedModel, Trainer, TrainingArguments

from scenarios.digits.loop import Digits
from scenarios.digits.splits import load_splits


def samples(split: str) -> TensorDataset:
    """Return the images and labels of a split."""
    images, labels = load_splits(0)[split]
    return TensorDataset(images.clone(), labels.clone())


def collate(pairs: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return a batch by the names that the model and the Trainer expect."""
    images, labels = zip(*pairs)
    return {"images": torch.stack(images), "labels": torch.stack(labels)}


class DigitsConfig(PreTrainedConfig):
    """The settings of the network: none but the usual ones."""

    model_type = "digits"


class DigitsForClassification(PreTrainedModel):
    """Computes the loss too, as the Trainer expects of a model."""

    config_class = DigitsConfig
    base_model_prefix = "digits"

    def __init__(self, config: DigitsConfig) -> None:
        super().__init__(config)
        self.digits = Digits()
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the weights as torch made them, as they are in the other forms."""

    def forward(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Return the logits, and the cross-entropy if there are labels."""
        logits = self.digits(images)
        return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}


def accuracy(evaluated: Any) -> dict[str, float]:
    """Return the share of right predictions, which the Trainer logs as `eval_accuracy`."""
    return {"accuracy": float((evaluated.predictions.argmax(axis=1) == evaluated.label_ids).mean())}


class ShortEpochs(Trainer):
    """Trains on a few batches of the shuffled samples in each epoch, and knows it when it resumes."""

    batches: int

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return RandomSampler(self.train_dataset, num_samples=self.batches * self.args.train_batch_size)


def train(epochs: int = 2, batches: int = 8, learning_rate: float = 0.02, resume: bool = False) -> None:
    """Train for some epochs of a few batches, with an evaluation and a checkpoint after each."""
    model = DigitsForClassification(DigitsConfig())
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4)
    # The Trainer steps the schedule after each update.
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 ** (step // batches))
    arguments = TrainingArguments(
        "out",
        num_train_epochs=epochs,
        per_device_train_batch_size=64,
        per_device_eval_batch_size=256,
        max_grad_norm=5.0,
        eval_strategy="epoch",
        logging_steps=4,
        save_strategy="epoch",
        metric_for_best_model="eval_loss",
        report_to="none",
        remove_unused_columns=False,  # the samples are pairs without names
        use_cpu=True,
    )
    trainer = ShortEpochs(
        model,
        arguments,
        data_collator=collate,
        train_dataset=samples("train"),
        eval_dataset=samples("validation"),
        compute_metrics=accuracy,
        optimizers=(optimizer, schedule),
    )
    trainer.batches = batches
    trainer.train(resume_from_checkpoint=resume)
