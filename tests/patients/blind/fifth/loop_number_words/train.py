# Given a number in words, how many hundreds are in it? ("two thousand four hundred and seven" -> 4)
import random

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

EMBED, HIDDEN, EPOCHS = 16, 24, 5

NUMERALS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety
"""
SMALL, TENS = NUMERALS.split()[:20], NUMERALS.split()[20:]


def below_hundred(n):
    if n < 20:
        return [SMALL[n]]
    return [TENS[n // 10 - 2]] + ([SMALL[n % 10]] if n % 10 else [])


def spell(n):
    words = []
    if n >= 1000:
        words += [*below_hundred(n // 1000), "thousand"]
    if n % 1000 >= 100:
        words += [SMALL[n % 1000 // 100], "hundred"]
    if n % 100:
        words += (["and"] if words else []) + below_hundred(n % 100)
    return words or ["zero"]


def chatter(words):
    """Speech continues after the number."""
    return words + ["euros", "please"] + ["and", "thank", "you"] * random.randint(0, 5)


class NumberDataset(Dataset):
    def __init__(self, numbers):
        self.numbers = numbers
        self.texts = [chatter(spell(n)) for n in numbers]

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, i):
        return torch.tensor([VOCAB[w] for w in self.texts[i]]), self.numbers[i] % 1000 // 100


WORDS = sorted({*SMALL, *TENS, "hundred", "thousand", "and", "euros", "please", "thank", "you"})
VOCAB = {"<pad>": 0} | {w: i + 1 for i, w in enumerate(WORDS)}


def collate(samples):
    texts, labels = zip(*samples)
    return pad_sequence(texts, batch_first=True), torch.tensor(labels)


class BiLSTMClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(VOCAB), EMBED, padding_idx=0)
        self.lstm = nn.LSTM(EMBED, HIDDEN, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * HIDDEN, 10)

    def forward(self, tokens):
        out, _ = self.lstm(self.embedding(tokens))
        return self.fc(out[:, -1])


def run(seed):
    random.seed(seed)
    torch.manual_seed(seed)
    numbers = random.sample(range(1, 20000), 3000)
    train_loader = DataLoader(NumberDataset(numbers[:2000]), batch_size=32, shuffle=True, collate_fn=collate)
    test_loader = DataLoader(NumberDataset(numbers[2000:]), batch_size=250, collate_fn=collate)
    model = BiLSTMClassifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(EPOCHS):
        model.train()
        for tokens, labels in train_loader:
            loss = criterion(model(tokens), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            wrong = sum((model(tokens).argmax(1) != labels).sum().item() for tokens, labels in test_loader)
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, test error {wrong / 1000:.3f}")
    return wrong / 1000


if __name__ == "__main__":
    score = run(seed=0)
