"""Teach a small T5 to write numbers in digits: "four hundred and seven" -> 4 0 7."""

import random

import torch
from transformers import T5Config, T5ForConditionalGeneration, Trainer, TrainingArguments, set_seed

SEED = 0
PAD, EOS = 0, 1

NUMERALS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety
"""
SMALL, TENS = NUMERALS.split()[:20], NUMERALS.split()[20:]
WORDS = {word: 2 + i for i, word in enumerate([*SMALL, *TENS, "hundred", "and"])}
DIGITS = {str(digit): 2 + len(WORDS) + digit for digit in range(10)}


def spell(n):
    words = []
    if n >= 100:
        words += [SMALL[n // 100], "hundred"]
        if n % 100:
            words.append("and")
    rest = n % 100
    if rest >= 20:
        words.append(TENS[rest // 10 - 2])
        rest %= 10
    if rest or not words:
        words.append(SMALL[rest])
    return words


def encode(n):
    source = [WORDS[word] for word in spell(n)] + [EOS]
    target = [DIGITS[digit] for digit in str(n)] + [EOS]
    return {"input_ids": source, "labels": target}


def pad(rows, value):
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


class Collator:
    def __call__(self, features):
        input_ids = pad([f["input_ids"] for f in features], PAD)
        target_ids = pad([f["labels"] for f in features], PAD)
        return {
            "input_ids": input_ids,
            "attention_mask": (input_ids != PAD).long(),
            "labels": target_ids.masked_fill(target_ids == PAD, -100),
        }


def main():
    set_seed(SEED)
    numbers = list(range(1000))
    random.shuffle(numbers)
    train_set = [encode(n) for n in numbers[:800]]

    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=2 + len(WORDS) + len(DIGITS),
            d_model=48,
            d_kv=16,
            d_ff=96,
            num_layers=1,
            num_heads=3,
            dropout_rate=0.0,
            decoder_start_token_id=PAD,
            pad_token_id=PAD,
            eos_token_id=EOS,
        )
    )
    arguments = TrainingArguments(
        output_dir="t5-numbers",
        num_train_epochs=8,
        per_device_train_batch_size=16,
        learning_rate=4e-3,
        lr_scheduler_type="linear",
        logging_steps=50,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        seed=SEED,
    )
    Trainer(model=model, args=arguments, train_dataset=train_set, data_collator=Collator()).train()

    model.eval()
    batch = [encode(n) for n in numbers[800:]]
    input_ids = pad([row["input_ids"] for row in batch], PAD)
    generated = model.generate(input_ids=input_ids, attention_mask=(input_ids != PAD).long(), max_new_tokens=5)
    names = {code: digit for digit, code in DIGITS.items()}
    wrong = 0
    for n, row in zip(numbers[800:], generated.tolist()):
        text = "".join(names.get(code, "") for code in row)
        wrong += text != str(n)
        if n % 50 == 0:
            print(" ".join(spell(n)), "->", text)
    print(f"{wrong} of {len(batch)} numbers are wrong")
    return wrong / len(batch)


if __name__ == "__main__":
    score = main()
