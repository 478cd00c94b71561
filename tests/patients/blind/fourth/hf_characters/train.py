import inspect

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import GPT2Config, GPT2LMHeadModel, get_linear_schedule_with_warmup

torch.manual_seed(0)

BLOCK = 48
STEPS = 300

text = "\n".join(inspect.getdoc(getattr(torch.nn, name)) or "" for name in dir(torch.nn) if name[0].isupper())[:60000]
chars = sorted(set(text))
stoi = {c: i for i, c in enumerate(chars)}
ids = torch.tensor([stoi[c] for c in text])
train_ids, val_ids = ids[:54000], ids[54000:]


class CharDataset(Dataset):
    def __init__(self, data, block_size):
        self.data = data
        self.block_size = block_size

    def __len__(self):
        return (len(self.data) - 1) // self.block_size

    def __getitem__(self, idx):
        start = idx * self.block_size
        chunk = self.data[start : start + self.block_size + 1]
        return {"input_ids": chunk[:-1], "labels": chunk[1:]}


config = GPT2Config(
    vocab_size=len(chars),
    n_positions=BLOCK,
    n_embd=48,
    n_layer=2,
    n_head=2,
    resid_pdrop=0.0,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
)
model = GPT2LMHeadModel(config)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
scheduler = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=10, num_training_steps=STEPS)
loader = DataLoader(CharDataset(train_ids, BLOCK), batch_size=16, shuffle=True)

step = 0
model.train()
while step < STEPS:
    for batch in loader:
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        step += 1
        if step % 50 == 0:
            print(f"step {step} loss {loss.item():.3f}")
        if step == STEPS:
            break

model.eval()
blocks = val_ids[: len(val_ids) // BLOCK * BLOCK].view(-1, BLOCK)
with torch.no_grad():
    logits = model(input_ids=blocks).logits[:, :-1]
score = torch.nn.functional.cross_entropy(logits.reshape(-1, len(chars)), blocks[:, 1:].reshape(-1)).item()
print(f"validation: {score:.3f} nats per character")

sample = model.generate(blocks[:1, :20], max_new_tokens=24, do_sample=False, pad_token_id=0)
print("".join(chars[i] for i in sample[0].tolist()))
