"""A fine-tuning with accumulated batches whose loss is the mean over all items of a step."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, digits
from benchmarks.realbugs.training import Tuning, evaluate


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def forward(self, images, labels=None):
        return {"logits": self.net(images)}


def per_item(outputs, labels, num_items_in_batch=None):
    return F.cross_entropy(outputs["logits"], labels, reduction="sum") / num_items_in_batch


def build():
    train_set, _ = digits()
    samples = [{"images": image, "labels": label} for image, label in zip(*train_set.tensors)]
    settings = {
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 8,
        "num_train_epochs": 4,
        "learning_rate": 0.5,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0,
        "optim": "sgd",
        "logging_steps": 5,
    }
    arguments = {"train_dataset": samples, "compute_loss_func": per_item}
    loader = torch.utils.data.DataLoader(samples, batch_size=8, shuffle=True)
    return Tuning(Classifier(), loader, objective, arguments=arguments, settings=settings, classes=10)


def objective(model, batch):
    return per_item(model(**batch), batch["labels"], len(batch["labels"]))


def measure(parts):
    held_out = torch.utils.data.DataLoader(digits()[1], batch_size=128)
    return min(evaluate(parts.model.net, held_out, F.cross_entropy), 1e3)
