import argparse
import json
import logging
import math
import os
import random
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

logger = logging.getLogger(__name__)


def parse_args():
    p = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--output_dir", type=Path, default=Path("runs"))
    p.add_argument("--num_train_epochs", type=int, default=2)
    p.add_argument("--max_train_steps", type=int, default=None)
    p.add_argument("--per_device_batch_size", type=int, default=16)
    p.add_argument("--gradient_accumulation_steps", type=int, default=2)
    p.add_argument("--learning_rate", type=float, default=1e-2)
    p.add_argument("--warmup_ratio", type=float, default=0.1)
    p.add_argument("--max_grad_norm", type=float, default=1.0)
    p.add_argument("--rank", type=int, default=4)
    p.add_argument("--alpha", type=float, default=8.0)
    p.add_argument("--logging_steps", type=int, default=5)
    p.add_argument("--mixed_precision", choices=["no", "bf16"], default="no")
    p.add_argument("--seed", type=int, default=42)
    return p.parse_args()


def set_seed(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    os.environ["PYTHONHASHSEED"] = str(seed)


class LoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, r: int, alpha: float):
        super().__init__()
        self.base = base
        self.scaling = alpha / r
        self.lora_A = nn.Parameter(torch.empty(r, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x):
        return self.base(x) + F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scaling


class TinyEncoder(nn.Module):
    def __init__(self, vocab, d=48, heads=4, layers=2, n_labels=2, max_len=24):
        super().__init__()
        self.tok = nn.Embedding(vocab, d, padding_idx=0)
        self.pos = nn.Embedding(max_len, d)
        self.q = nn.ModuleList(nn.Linear(d, d) for _ in range(layers))
        self.kv = nn.ModuleList(nn.Linear(d, 2 * d) for _ in range(layers))
        self.ff = nn.ModuleList(nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d)) for _ in range(layers))
        self.heads = heads
        self.classifier = nn.Linear(d, n_labels)

    def forward(self, input_ids, attention_mask, labels=None):
        h = self.tok(input_ids) + self.pos.weight[: input_ids.shape[1]]
        b, t, d = h.shape
        split = lambda z: z.view(b, t, self.heads, d // self.heads).transpose(1, 2)
        mask = attention_mask[:, None, None, :].bool()
        for q, kv, ff in zip(self.q, self.kv, self.ff):
            k, v = kv(h).chunk(2, dim=-1)
            a = F.scaled_dot_product_attention(split(q(h)), split(k), split(v), attn_mask=mask)
            h = h + a.transpose(1, 2).reshape(b, t, d)
            h = h + ff(h)
        pooled = (h * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)
        logits = self.classifier(pooled)
        loss = F.cross_entropy(logits, labels) if labels is not None else None
        return (loss, logits) if loss is not None else (logits,)


class Reviews(Dataset):
    GOOD = "fine bright sharp quick kind warm fresh".split()
    BAD = "dull slow broken cold late rude stale".split()
    FILL = "the room was and very staff food our stay".split()
    VOCAB = {w: i + 1 for i, w in enumerate(GOOD + BAD + FILL)}

    def __init__(self, n, seed):
        rng = random.Random(seed)
        self.rows = []
        for i in range(n):
            label = i % 2
            words = rng.choices(self.FILL, k=rng.randint(4, 12)) + rng.choices((self.BAD, self.GOOD)[label], k=2) + rng.choices(self.GOOD + self.BAD, k=1)
            rng.shuffle(words)
            self.rows.append({"input_ids": [self.VOCAB[w] for w in words], "labels": label})

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def collate(features):
    longest = max(len(f["input_ids"]) for f in features)
    ids = torch.tensor([f["input_ids"] + [0] * (longest - len(f["input_ids"])) for f in features])
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": torch.tensor([f["labels"] for f in features])}


def add_adapters(model, r, alpha):
    for p in model.parameters():
        p.requires_grad_(False)
    for i, layer in enumerate(model.q):
        model.q[i] = LoRALinear(layer, r, alpha)
    for i, layer in enumerate(model.kv):
        model.kv[i] = LoRALinear(layer, r, alpha)
    for p in model.classifier.parameters():
        p.requires_grad_(True)
    return model


@torch.no_grad()
def evaluate(model, dataloader, device):
    model.eval()
    losses, hits, n = [], 0, 0
    for batch in dataloader:
        batch = {k: v.to(device) for k, v in batch.items()}
        loss, logits = model(**batch)
        losses.append(loss.item())
        hits += (logits.argmax(-1) == batch["labels"]).sum().item()
        n += len(batch["labels"])
    model.train()
    return {"eval_loss": sum(losses) / len(losses), "eval_accuracy": hits / n}


def main():
    args = parse_args()
    run_dir = args.output_dir / datetime.now().strftime("%Y%m%d-%H%M%S")
    run_dir.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        format="%(asctime)s - %(levelname)s - %(name)s - %(message)s", datefmt="%m/%d/%Y %H:%M:%S", level=logging.INFO,
        handlers=[logging.StreamHandler(sys.stderr), logging.FileHandler(run_dir / "train.log")],
    )
    (run_dir / "args.json").write_text(json.dumps(vars(args), default=str, indent=2))
    set_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    train_dataloader = DataLoader(Reviews(512, 0), shuffle=True, collate_fn=collate, batch_size=args.per_device_batch_size)
    eval_dataloader = DataLoader(Reviews(128, 1), collate_fn=collate, batch_size=64)
    model = add_adapters(TinyEncoder(len(Reviews.VOCAB) + 1), args.rank, args.alpha).to(device)
    trainable = [p for p in model.parameters() if p.requires_grad]
    logger.info("trainable params: %d || all params: %d", sum(p.numel() for p in trainable), sum(p.numel() for p in model.parameters()))

    optimizer = torch.optim.AdamW(trainable, lr=args.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    steps_per_epoch = math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
    if args.max_train_steps is None:
        args.max_train_steps = args.num_train_epochs * steps_per_epoch
    warmup = int(args.warmup_ratio * args.max_train_steps)
    lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: s / max(1, warmup) if s < warmup else max(0.0, (args.max_train_steps - s) / max(1, args.max_train_steps - warmup))
    )

    logger.info("***** Running training *****")
    logger.info("  Num examples = %d", len(train_dataloader.dataset))
    logger.info("  Total optimization steps = %d", args.max_train_steps)
    completed_steps, best, running = 0, 0.0, 0.0
    for epoch in range(args.num_train_epochs):
        model.train()
        for step, batch in enumerate(train_dataloader):
            batch = {k: v.to(device) for k, v in batch.items()}
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=args.mixed_precision == "bf16"):
                loss = model(**batch)[0]
            (loss / args.gradient_accumulation_steps).backward()
            running += loss.detach().item() / args.gradient_accumulation_steps
            if (step + 1) % args.gradient_accumulation_steps == 0 or step == len(train_dataloader) - 1:
                grad_norm = torch.nn.utils.clip_grad_norm_(trainable, args.max_grad_norm)
                optimizer.step()
                lr_scheduler.step()
                optimizer.zero_grad()
                completed_steps += 1
                if completed_steps % args.logging_steps == 0:
                    logger.info("step %d loss %.4f grad_norm %.3f lr %.2e", completed_steps, running / args.logging_steps, grad_norm, lr_scheduler.get_last_lr()[0])
                    running = 0.0
            if completed_steps >= args.max_train_steps:
                break
        metrics = evaluate(model, eval_dataloader, device)
        logger.info("epoch %d: %s", epoch, metrics)
        with open(run_dir / "metrics.jsonl", "a") as f:
            f.write(json.dumps({"epoch": epoch, "step": completed_steps, **metrics}) + "\n")
        if metrics["eval_accuracy"] >= best:
            best = metrics["eval_accuracy"]
            torch.save({k: v for k, v in model.state_dict().items() if "lora_" in k or "classifier" in k}, run_dir / "adapter.pt")
    logger.info("best accuracy %.4f", best)


if __name__ == "__main__":
    main()
