"""
Character model, simple loop.

    $ python compile_flag.py --compile False --batch_size 8
"""
import math
import os
import time
from ast import literal_eval
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.nn import functional as F
from tqdm import trange

# -----------------------------------------------------------------------------
out_dir = 'out-char'
eval_interval = 30
eval_iters = 5
log_interval = 10
always_save_checkpoint = False
init_from = 'scratch'  # 'scratch' or 'resume'
gradient_accumulation_steps = 2
batch_size = 12
block_size = 16
n_layer, n_head, n_embd = 2, 2, 32
dropout = 0.0
bias = False
learning_rate = 6e-3
max_iters = 90
weight_decay = 1e-1
beta1, beta2 = 0.9, 0.95
grad_clip = 1.0
decay_lr = True
warmup_iters = 5
lr_decay_iters = 90
min_lr = 6e-4
device = 'cpu'
dtype = 'float32'
compile = hasattr(torch, 'compile') and device != 'cpu'
# -----------------------------------------------------------------------------
config_keys = [k for k, v in globals().items() if not k.startswith('_') and isinstance(v, (int, float, bool, str))]
for key, val in zip(sys.argv[1::2], sys.argv[2::2]):
    key = key.removeprefix('--')
    if key not in globals():
        raise ValueError(f"Unknown config key: {key}")
    try:
        globals()[key] = literal_eval(val)
    except (SyntaxError, ValueError):
        globals()[key] = val
config = {k: globals()[k] for k in config_keys}

tokens_per_iter = gradient_accumulation_steps * batch_size * block_size
print(f"tokens per iteration will be: {tokens_per_iter:,}")
os.makedirs(out_dir, exist_ok=True)
torch.manual_seed(1337)
torch.backends.cuda.matmul.allow_tf32 = True
ctx = torch.amp.autocast(device_type=device, dtype=getattr(torch, dtype), enabled=dtype != 'float32')

data_dir = os.path.join(out_dir, 'data')
os.makedirs(data_dir, exist_ok=True)
if not os.path.exists(os.path.join(data_dir, 'train.bin')):
    rng = np.random.default_rng(0)
    words = ['salt', 'tide', 'rope', 'gull', 'mast', 'keel', 'buoy']
    text = ' '.join(words[i] for i in np.cumsum(rng.integers(1, 3, 2500)) % len(words))
    ids = np.array([ord(c) - 96 if c != ' ' else 0 for c in text], dtype=np.uint16)
    ids[: int(0.9 * len(ids))].tofile(os.path.join(data_dir, 'train.bin'))
    ids[int(0.9 * len(ids)):].tofile(os.path.join(data_dir, 'val.bin'))


def get_batch(split):
    data = np.memmap(os.path.join(data_dir, f'{split}.bin'), dtype=np.uint16, mode='r')
    ix = torch.randint(len(data) - block_size, (batch_size,))
    x = torch.stack([torch.from_numpy(data[i:i + block_size].astype(np.int64)) for i in ix])
    y = torch.stack([torch.from_numpy(data[i + 1:i + 1 + block_size].astype(np.int64)) for i in ix])
    return x.to(device), y.to(device)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd, bias=bias), nn.LayerNorm(n_embd, bias=bias)
        self.c_attn = nn.Linear(n_embd, 3 * n_embd, bias=bias)
        self.c_proj = nn.Linear(n_embd, n_embd, bias=bias)
        self.mlp = nn.Sequential(nn.Linear(n_embd, 4 * n_embd, bias=bias), nn.GELU(), nn.Linear(4 * n_embd, n_embd, bias=bias))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = (t.view(B, T, n_head, C // n_head).transpose(1, 2) for t in self.c_attn(self.ln_1(x)).split(n_embd, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout if self.training else 0)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, vocab_size=27):
        super().__init__()
        self.transformer = nn.ModuleDict(dict(
            wte=nn.Embedding(vocab_size, n_embd), wpe=nn.Embedding(block_size, n_embd),
            h=nn.ModuleList([Block() for _ in range(n_layer)]), ln_f=nn.LayerNorm(n_embd, bias=bias),
        ))
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.transformer.wte.weight = self.lm_head.weight
        self.apply(self._init_weights)

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)

    def forward(self, idx, targets=None):
        x = self.transformer.wte(idx) + self.transformer.wpe(torch.arange(idx.size(1), device=idx.device))
        for block in self.transformer.h:
            x = block(x)
        x = self.transformer.ln_f(x)
        if targets is None:
            return self.lm_head(x[:, [-1], :]), None
        logits = self.lm_head(x)
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)

    def configure_optimizers(self):
        params = {n: p for n, p in self.named_parameters() if p.requires_grad}
        groups = [
            {'params': [p for p in params.values() if p.dim() >= 2], 'weight_decay': weight_decay},
            {'params': [p for p in params.values() if p.dim() < 2], 'weight_decay': 0.0},
        ]
        return torch.optim.AdamW(groups, lr=learning_rate, betas=(beta1, beta2))


iter_num, best_val_loss = 0, 1e9
model = GPT()
if init_from == 'resume':
    checkpoint = torch.load(os.path.join(out_dir, 'ckpt.pt'), map_location=device)
    state_dict = {k.removeprefix('_orig_mod.'): v for k, v in checkpoint['model'].items()}
    model.load_state_dict(state_dict)
    iter_num, best_val_loss = checkpoint['iter_num'], checkpoint['best_val_loss']
model.to(device)
scaler = torch.amp.GradScaler(device, enabled=dtype == 'float16')
optimizer = model.configure_optimizers()
if init_from == 'resume':
    optimizer.load_state_dict(checkpoint['optimizer'])
checkpoint = None
if compile:
    print("compiling the model... (takes a ~minute)")
    unoptimized_model = model
    model = torch.compile(model)


@torch.no_grad()
def estimate_loss():
    out = {}
    model.eval()
    for split in ['train', 'val']:
        losses = torch.zeros(eval_iters)
        for k in range(eval_iters):
            X, Y = get_batch(split)
            with ctx:
                _, loss = model(X, Y)
            losses[k] = loss.item()
        out[split] = losses.mean()
    model.train()
    return out


def get_lr(it):
    if it < warmup_iters:
        return learning_rate * (it + 1) / (warmup_iters + 1)
    if it > lr_decay_iters:
        return min_lr
    ratio = (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    return min_lr + 0.5 * (1.0 + math.cos(math.pi * ratio)) * (learning_rate - min_lr)


X, Y = get_batch('train')  # fetch the very first batch
t0 = time.time()
pbar = trange(iter_num, max_iters + 1, desc='train', dynamic_ncols=True)
for iter_num in pbar:
    lr = get_lr(iter_num) if decay_lr else learning_rate
    for param_group in optimizer.param_groups:
        param_group['lr'] = lr
    if iter_num % eval_interval == 0:
        losses = estimate_loss()
        tqdm_line = f"step {iter_num}: train loss {losses['train']:.4f}, val loss {losses['val']:.4f}"
        pbar.write(tqdm_line)
        if losses['val'] < best_val_loss or always_save_checkpoint:
            best_val_loss = losses['val']
            if iter_num > 0:
                torch.save({'model': model.state_dict(), 'optimizer': optimizer.state_dict(), 'iter_num': iter_num,
                            'best_val_loss': best_val_loss, 'config': config}, os.path.join(out_dir, 'ckpt.pt'))
    for micro_step in range(gradient_accumulation_steps):
        with ctx:
            logits, loss = model(X, Y)
            loss = loss / gradient_accumulation_steps
        X, Y = get_batch('train')  # immediately prefetch the next batch
        scaler.scale(loss).backward()
    if grad_clip != 0.0:
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    if iter_num % log_interval == 0:
        pbar.set_postfix(loss=loss.item() * gradient_accumulation_steps, ms=f"{(time.time() - t0) * 1000:.0f}")
    t0 = time.time()
