r"""Train a segmentation network.

To resume, pass the checkpoint:

    python reference_style.py --output-dir out --resume out/checkpoint.pth
"""
import argparse
import datetime
import os
import time
from collections import defaultdict, deque

import torch
import torch.utils.data
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class SmoothedValue:
    """Track a series of values and provide access to smoothed values over a window."""

    def __init__(self, window_size=20, fmt="{median:.4f} ({global_avg:.4f})"):
        self.deque = deque(maxlen=window_size)
        self.total = 0.0
        self.count = 0
        self.fmt = fmt

    def update(self, value, n=1):
        self.deque.append(value)
        self.count += n
        self.total += value * n

    @property
    def median(self):
        return torch.tensor(list(self.deque)).median().item()

    @property
    def global_avg(self):
        return self.total / max(1, self.count)

    def __str__(self):
        return self.fmt.format(median=self.median, global_avg=self.global_avg)


class MetricLogger:
    def __init__(self, delimiter="  "):
        self.meters = defaultdict(SmoothedValue)
        self.delimiter = delimiter

    def update(self, **kwargs):
        for k, v in kwargs.items():
            self.meters[k].update(v.item() if isinstance(v, torch.Tensor) else v)

    def __getattr__(self, attr):
        if attr in self.meters:
            return self.meters[attr]
        raise AttributeError(attr)

    def __str__(self):
        return self.delimiter.join(f"{name}: {meter}" for name, meter in self.meters.items())

    def log_every(self, iterable, print_freq, header=""):
        start = end = time.time()
        data_time = SmoothedValue(fmt="{global_avg:.4f}")
        for i, obj in enumerate(iterable):
            data_time.update(time.time() - end)
            yield obj
            if i % print_freq == 0:
                print(f"{header} [{i}/{len(iterable)}]  {self}  data: {data_time}")
            end = time.time()
        print(f"{header} Total time: {datetime.timedelta(seconds=int(time.time() - start))}")


class ConfusionMatrix:
    def __init__(self, num_classes):
        self.num_classes = num_classes
        self.mat = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    def update(self, a, b):
        k = (a >= 0) & (a < self.num_classes)
        inds = self.num_classes * a[k] + b[k]
        self.mat += torch.bincount(inds, minlength=self.num_classes**2).reshape(self.num_classes, self.num_classes)

    def compute(self):
        h = self.mat.float()
        iu = torch.diag(h) / (h.sum(1) + h.sum(0) - torch.diag(h)).clamp(min=1)
        return torch.diag(h).sum() / h.sum(), iu

    def __str__(self):
        acc_global, iu = self.compute()
        return f"global correct: {acc_global.item() * 100:.1f}\nIoU: {[f'{i:.1f}' for i in (iu * 100).tolist()]}\nmean IoU: {iu.mean().item() * 100:.1f}"


class Shapes(torch.utils.data.Dataset):
    """Bright squares and dim discs on noise."""

    def __init__(self, n, train):
        g = torch.Generator().manual_seed(int(train))
        self.images = 0.2 * torch.randn(n, 1, 16, 16, generator=g)
        self.masks = torch.zeros(n, 16, 16, dtype=torch.int64)
        yy, xx = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
        for i in range(n):
            r, c = torch.randint(3, 13, (2,), generator=g).tolist()
            kind = 1 + i % 2
            inside = ((yy - r).abs() < 3) & ((xx - c).abs() < 3) if kind == 1 else (yy - r) ** 2 + (xx - c) ** 2 < 9
            self.images[i, 0][inside] += 1.5 if kind == 1 else 0.8
            self.masks[i][inside] = kind
            self.masks[i, 0] = 255

    def __len__(self):
        return len(self.masks)

    def __getitem__(self, i):
        return self.images[i], self.masks[i]


class FCN(nn.Module):
    def __init__(self, num_classes, width=12, aux=True):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=2, dilation=2, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
        )
        self.classifier = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(width, num_classes, 1))
        self.aux_classifier = nn.Conv2d(width, num_classes, 1) if aux else None

    def forward(self, x):
        f = self.backbone(x)
        result = {"out": self.classifier(f)}
        if self.aux_classifier is not None:
            result["aux"] = self.aux_classifier(f)
        return result


def criterion(inputs, target):
    losses = {name: nn.functional.cross_entropy(x, target, ignore_index=255) for name, x in inputs.items()}
    if len(losses) == 1:
        return losses["out"]
    return losses["out"] + 0.5 * losses["aux"]


def collate_fn(batch):
    images, targets = list(zip(*batch))
    return torch.stack(images), torch.stack(targets)


def evaluate(model, data_loader, device, num_classes):
    model.eval()
    confmat = ConfusionMatrix(num_classes)
    metric_logger = MetricLogger()
    with torch.inference_mode():
        for image, target in metric_logger.log_every(data_loader, 100, "Test:"):
            image, target = image.to(device), target.to(device)
            output = model(image)["out"]
            confmat.update(target.flatten(), output.argmax(1).flatten())
    return confmat


def train_one_epoch(model, criterion, optimizer, data_loader, lr_scheduler, device, epoch, print_freq, model_ema=None):
    model.train()
    metric_logger = MetricLogger()
    for image, target in metric_logger.log_every(data_loader, print_freq, f"Epoch: [{epoch}]"):
        image, target = image.to(device), target.to(device)
        output = model(image)
        loss = criterion(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        lr_scheduler.step()
        if model_ema:
            model_ema.update_parameters(model)
        metric_logger.update(loss=loss.item(), lr=optimizer.param_groups[0]["lr"])


def main(args):
    if args.output_dir:
        os.makedirs(args.output_dir, exist_ok=True)
    print(args)
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    num_classes = 3
    dataset, dataset_test = Shapes(240, True), Shapes(60, False)
    train_sampler = torch.utils.data.RandomSampler(dataset)
    test_sampler = torch.utils.data.SequentialSampler(dataset_test)
    data_loader = torch.utils.data.DataLoader(dataset, batch_size=args.batch_size, sampler=train_sampler, num_workers=args.workers, collate_fn=collate_fn, drop_last=True)
    data_loader_test = torch.utils.data.DataLoader(dataset_test, batch_size=20, sampler=test_sampler, num_workers=args.workers, collate_fn=collate_fn)

    model = FCN(num_classes, aux=args.aux_loss).to(device)
    params_to_optimize = [{"params": model.backbone.parameters()}, {"params": model.classifier.parameters()}]
    if args.aux_loss:
        params_to_optimize.append({"params": model.aux_classifier.parameters(), "lr": args.lr * 10})
    optimizer = torch.optim.SGD(params_to_optimize, lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay)
    iters = len(data_loader)
    main_lr_scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=iters * (args.epochs - args.lr_warmup_epochs), power=0.9)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=iters * args.lr_warmup_epochs)
    lr_scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, main_lr_scheduler], milestones=[iters * args.lr_warmup_epochs])
    model_ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9)) if args.model_ema else None

    if args.resume:
        checkpoint = torch.load(args.resume, map_location="cpu", weights_only=True)
        model.load_state_dict(checkpoint["model"], strict=not args.test_only)
        if not args.test_only:
            optimizer.load_state_dict(checkpoint["optimizer"])
            lr_scheduler.load_state_dict(checkpoint["lr_scheduler"])
            args.start_epoch = checkpoint["epoch"] + 1
    if args.test_only:
        print(evaluate(model, data_loader_test, device=device, num_classes=num_classes))
        return

    start_time = time.time()
    for epoch in range(args.start_epoch, args.epochs):
        train_one_epoch(model, criterion, optimizer, data_loader, lr_scheduler, device, epoch, args.print_freq, model_ema)
        confmat = evaluate(model_ema or model, data_loader_test, device=device, num_classes=num_classes)
        print(confmat)
        checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "lr_scheduler": lr_scheduler.state_dict(), "epoch": epoch}
        torch.save(checkpoint, os.path.join(args.output_dir, f"model_{epoch}.pth"))
        torch.save(checkpoint, os.path.join(args.output_dir, "checkpoint.pth"))
    print(f"Training time {datetime.timedelta(seconds=int(time.time() - start_time))}")


def get_args_parser(add_help=True):
    parser = argparse.ArgumentParser(description="Segmentation Training", add_help=add_help)
    parser.add_argument("--device", default="cpu", type=str)
    parser.add_argument("-b", "--batch-size", default=12, type=int)
    parser.add_argument("--epochs", default=4, type=int, metavar="N")
    parser.add_argument("-j", "--workers", default=0, type=int, metavar="N")
    parser.add_argument("--aux-loss", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--lr", default=0.05, type=float)
    parser.add_argument("--momentum", default=0.9, type=float)
    parser.add_argument("--wd", "--weight-decay", default=1e-4, type=float, dest="weight_decay")
    parser.add_argument("--lr-warmup-epochs", default=1, type=int)
    parser.add_argument("--print-freq", default=10, type=int)
    parser.add_argument("--output-dir", default=".", type=str)
    parser.add_argument("--resume", default="", type=str)
    parser.add_argument("--start-epoch", default=0, type=int, metavar="N")
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--model-ema", action="store_true")
    parser.add_argument("--test-only", dest="test_only", action="store_true")
    return parser


if __name__ == "__main__":
    args = get_args_parser().parse_args()
    main(args)
