import numpy as np
import torch
from sklearn.datasets import load_digits
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    Trainer,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    set_seed,
)

SEED = 0
CHECKPOINT = "vit-tiny-digits"


class DigitDataset(torch.utils.data.Dataset):
    def __init__(self, images, labels):
        self.images = torch.tensor(images / 8 - 1, dtype=torch.float32).unsqueeze(1)
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return {"pixel_values": self.images[i], "labels": int(self.labels[i])}


def compute_metrics(prediction):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def train(model, train_set, eval_set, name, epochs, lr):
    arguments = TrainingArguments(
        output_dir=name,
        num_train_epochs=epochs,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=256,
        learning_rate=lr,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        seed=SEED,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=train_set,
        eval_dataset=eval_set,
        compute_metrics=compute_metrics,
    )
    trainer.train()
    accuracy = trainer.evaluate()["eval_accuracy"]
    print(f"{name}: accuracy {accuracy:.3f}")
    return trainer, accuracy


def pretrain(images, digits):
    """The five digits of which there are many images."""
    rows = digits < 5
    data = DigitDataset(images[rows], digits[rows])
    config = ViTConfig(
        image_size=8,
        patch_size=2,
        num_channels=1,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=5,
    )
    trainer, _ = train(ViTForImageClassification(config), data, data, "pretraining", epochs=10, lr=4e-3)
    trainer.save_model(CHECKPOINT)


def finetune(images, digits):
    """The other five, with a few labelled images of each."""
    rows = np.flatnonzero(digits >= 5)
    few, others = rows[:96], rows[96:]
    config = AutoConfig.from_pretrained(CHECKPOINT, num_labels=5)
    model = AutoModelForImageClassification.from_pretrained(CHECKPOINT, config=config)
    _, accuracy = train(
        model,
        DigitDataset(images[few], digits[few] - 5),
        DigitDataset(images[others], digits[others] - 5),
        "finetuning",
        epochs=20,
        lr=3e-3,
    )
    return accuracy


def main():
    set_seed(SEED)
    bunch = load_digits()
    order = np.random.permutation(len(bunch.target))
    images, digits = bunch.images[order], bunch.target[order]
    pretrain(images, digits)
    return 1 - finetune(images, digits)


if __name__ == "__main__":
    score = main()
