"""A fine-tuning that ends after six evaluations in a row that are not better than the best one."""

from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback

from benchmarks.realbugs.material import Net, digits
from benchmarks.realbugs.training import Tuning, evaluate

PATIENCE = 6


class EarlyStop(TrainerCallback):
    def __init__(self):
        self.best, self.waited = float("inf"), 0

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        if metrics["eval_loss"] < self.best:
            self.best = metrics["eval_loss"]
            self.waited = 0
        else:
            self.waited += 1
        if self.waited >= PATIENCE:
            control.should_training_stop = True


class StoppingTrainer(Trainer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.add_callback(EarlyStop())


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Net(dropout=0.3)

    def forward(self, images, labels):
        logits = self.net(images)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def samples(dataset):
    return [{"images": image, "labels": label} for image, label in zip(*dataset.tensors)]


def build():
    train_set, held_out = (samples(dataset) for dataset in digits(600))
    settings = {
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 700,
        "max_steps": 240,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "learning_rate": 0.3,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0,
        "optim": "sgd",
        "logging_steps": 8,
    }
    loader = DataLoader(train_set, batch_size=8, shuffle=True)
    objective = lambda model, batch: model(**batch)["loss"]  # noqa: E731
    arguments = {"train_dataset": train_set, "eval_dataset": held_out}
    return Tuning(
        Classifier(),
        loader,
        objective,
        trainer_class=StoppingTrainer,
        arguments=arguments,
        settings=settings,
        classes=10,
    )


def measure(parts):
    return evaluate(parts.model.net, DataLoader(digits()[1], batch_size=128), F.cross_entropy)
