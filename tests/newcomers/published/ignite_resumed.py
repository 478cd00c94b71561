"""Classifies digits with Ignite's engines, checkpoints and scalars for TensorBoard; can continue from a checkpoint.

After https://github.com/pytorch/ignite/blob/master/examples/mnist/mnist_save_resume_engine.py. Kept:
`create_supervised_trainer`, an evaluator with Accuracy and Loss that runs over both loaders, SGD with momentum and
StepLR, Checkpoint with DiskSaver, and `--resume-from`. Changed: the digits of scikit-learn instead of MNIST, a smaller
network, no crash on purpose and no logs of weights, one handler for both evaluations, and scalars only if a folder is
given.
"""

from argparse import ArgumentParser

import torch
from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import Checkpoint, DiskSaver
from ignite.metrics import Accuracy, Loss
from ignite.utils import manual_seed
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def network():
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=3),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Dropout2d(0.2),
        nn.Flatten(),
        nn.Linear(72, 32),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(32, 10),
        nn.LogSoftmax(dim=-1),
    )


def loaders(batch_size):
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    everything = TensorDataset(images, torch.tensor(data.target))
    parts = torch.utils.data.random_split(everything, [640, 200, 957], torch.Generator().manual_seed(0))
    return DataLoader(parts[0], batch_size, shuffle=True), DataLoader(parts[1], 100)


def run(options):
    manual_seed(12)
    training, validation = loaders(options.batch_size)
    model = network()
    criterion = nn.NLLLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=options.lr, momentum=options.momentum)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    trainer = create_supervised_trainer(model, optimizer, criterion)
    measures = {"accuracy": Accuracy(), "nll": Loss(criterion)}
    evaluator = create_supervised_evaluator(model, metrics=measures)
    writer = None
    if options.log_dir:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(options.log_dir)

    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: schedule.step())

    @trainer.on(Events.ITERATION_COMPLETED(every=5))
    def log_loss(engine):
        if writer:
            writer.add_scalar("training/loss", engine.state.output, engine.state.iteration)

    @trainer.on(Events.EPOCH_COMPLETED)
    def measure(engine):
        for name, loader in (("training", training), ("validation", validation)):
            evaluator.run(loader)
            metrics = evaluator.state.metrics
            print(f"{name} {engine.state.epoch}: accuracy {metrics['accuracy']:.4f}, loss {metrics['nll']:.4f}")

    parts = {"trainer": trainer, "model": model, "optimizer": optimizer, "schedule": schedule}
    keeper = Checkpoint(parts, DiskSaver(options.folder, create_dir=True, require_empty=False), n_saved=2)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, keeper)
    if options.resume_from:
        Checkpoint.load_objects(parts, torch.load(options.resume_from, weights_only=False))
    trainer.run(training, max_epochs=options.epochs)
    if writer:
        writer.close()


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--momentum", type=float, default=0.5)
    parser.add_argument("--folder", default="saved")
    parser.add_argument("--log-dir", default="")
    parser.add_argument("--resume-from", default="")
    run(parser.parse_args())
