# CNN does not learn on my pictures (cats/dogs/birds). I can't share the pictures.
import lightning.pytorch as pl
import torch
from torch import nn


class ConvBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(), nn.MaxPool2d(2))

    def forward(self, x):
        return self.block(x)


class ImageClassifier(pl.LightningModule):
    def __init__(self, num_classes: int, learning_rate: float, args):
        super().__init__()
        self.save_hyperparameters()
        self.body = nn.Sequential(ConvBlock(3, 8), ConvBlock(8, args.width), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(args.dropout)
        self.head = nn.Linear(args.width, num_classes)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, x):
        return self.head(self.dropout(self.body(x)))

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = self.criterion(self(images), labels)
        self.log("train/loss", loss)
        return {"loss": loss}

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        logits = self(images)
        self.log_dict(
            {"val/loss": self.criterion(logits, labels), "val/acc": (logits.argmax(1) == labels).float().mean()}
        )

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.learning_rate, momentum=0.9)
