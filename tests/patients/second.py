"""Ten more, written after the doctor was mended for the first twenty, and before it was shown these."""

from __future__ import annotations

from tests.patients.patient import ADAM, Patient

PATIENTS = [
    Patient(
        "sigmoid-twice", "avBuffer/UNet3plus_pth#23",
        """
class Segmenter(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 1, 1)
        self.criterion = nn.BCEWithLogitsLoss()

    def forward(self, x):
        d1 = self.head(torch.relu(self.conv(x)))
        return {OUT}

    def training_step(self, batch, batch_idx):
        images, masks = batch
        loss = self.criterion(self(images), masks)
        self.log("train_loss", loss)
        return loss
""" + ADAM + """
images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
pl.Trainer(max_epochs=3).fit(Segmenter(), DataLoader(TensorDataset(images, (images > 0.5).float()), batch_size=8))
""",
        {"OUT": ("torch.sigmoid(d1)", "d1")}, r"sigmoid", r"logits",
    ),
    Patient(
        "endless-loader", "Lightning-AI/pytorch-lightning#2150",
        """
class Chunks(IterableDataset):
    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        while True:
            x = torch.randn(8, generator=generator)
            yield x, x[:3].argmax()


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))
""" + ADAM + """
trainer = pl.Trainer(max_epochs=2{LIMIT})
trainer.fit(Net(), DataLoader(Chunks(), batch_size=16), DataLoader(classes(32), batch_size=16))
""",
        {"LIMIT": ("", ", limit_train_batches=20")},
        r"(endless|never ends|no end|without length|first epoch)", r"limit_train_batches|max_steps|__len__",
    ),
    Patient(
        "cosine-of-one-epoch", "sthalles/SimCLR#8",
        """
class Net(pl.LightningModule):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 3e-4, weight_decay=1e-6)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max={T}, eta_min=0, last_epoch=-1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler{INTERVAL}}}


loader = DataLoader(classes(512), batch_size=16, shuffle=True)
pl.Trainer(max_epochs=3).fit(Net(len(loader)), loader)
""",
        {"T": ("self.batches", "self.trainer.estimated_stepping_batches"), "INTERVAL": ("", ', "interval": "step"')},
        r"CosineAnnealingLR.*(batches|steps)", r"interval.*step|step.*interval",
    ),
    Patient(
        "length-too-long", "Lightning-AI/pytorch-lightning#21551",
        """
class Shards(IterableDataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return {LENGTH}

    def __iter__(self):
        return iter(self.data)


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))
""" + ADAM + """
trainer = pl.Trainer(max_epochs=3)
trainer.fit(Net(), DataLoader(Shards(classes(96)), batch_size=16), DataLoader(classes(32), batch_size=16))
""",
        {"LENGTH": ("128", "96")}, r"6 of 8", r"__len__",
    ),
    Patient(
        "damaged-sample-passed-over", "pytorch/pytorch#1137",
        """
class Images(Dataset):
    def __init__(self, data):
        self.data = data
        self.last = (torch.zeros(8), torch.tensor(0))

    def __len__(self):
        return len(self.data)

    def load(self, index):
        x, y = self.data[index]
        return x.view({SHAPE}).flatten(), y

    def __getitem__(self, index):
        try:
            self.last = self.load(index)
        except:
            pass
        return self.last


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("loss", loss)
        return loss
""" + ADAM + """
pl.Trainer(max_epochs=2).fit(Net(), DataLoader(Images(classes()), batch_size=16))
""",
        {"SHAPE": ("3, 3", "2, 4")}, r"RuntimeError.*swallowed.*shape '\[3, 3\]'", r"flatten|view|let it out",
    ),
    Patient(
        "two-optimizers", "Lightning-AI/pytorch-lightning#17801",
        """
class Gan(pl.LightningModule):
    def __init__(self):
        super().__init__()
        {MANUAL}self.g, self.d = nn.Linear(4, 4), nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        x, _ = batch
        fake = self.g(torch.randn_like(x))
        {STEP}

    def configure_optimizers(self):
        return [torch.optim.Adam(self.g.parameters(), 1e-3), torch.optim.Adam(self.d.parameters(), 1e-3)]


pl.Trainer(max_epochs=2).fit(Gan(), DataLoader(regression(), batch_size=16))
""",
        {"MANUAL": ("", "self.automatic_optimization = False\n        "),
         "STEP": ("return (fake - x).pow(2).mean() + self.d(x).pow(2).mean()",
                  "loss = (fake - x).pow(2).mean() + self.d(x).pow(2).mean()\n"
                  "        for opt in self.optimizers():\n            opt.zero_grad()\n"
                  "        self.manual_backward(loss)\n"
                  "        for opt in self.optimizers():\n            opt.step()")},
        r"several optimizers", r"automatic_optimization = False",
    ),
    Patient(
        "none-collated", "nitsaick/kits19-challenge#7",
        """
class Slices(Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        x, y = self.data[index]
        {RETURN}


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch["image"], batch["label"]
        return F.cross_entropy(self.net(x), y)
""" + ADAM + """
pl.Trainer(max_epochs=2).fit(Net(), DataLoader(Slices(classes()), batch_size=16))
""",
        {"RETURN": ('return {"image": x, "label": y, "roi": None}', 'return {"image": x, "label": y}')},
        r"NoneType", r"return nothing that is None|collate_fn",
    ),
    Patient(
        "parameters-used-up", "YanaiEliyahu/AdasOptimizer#2",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        params = {PARAMS}
        print("trainable:", sum(p.numel() for p in params))
        return torch.optim.Adam(params, lr=1e-2)


pl.Trainer(max_epochs=2).fit(Net(), DataLoader(classes(), batch_size=16))
""",
        {"PARAMS": ("filter(lambda p: p.requires_grad, self.parameters())",
                    "[p for p in self.parameters() if p.requires_grad]")},
        r"(used up|generator|filter)", r"list",
    ),
    Patient(
        "loss-made-trainable", "brian6091/Dreambooth#23",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(8, 16).requires_grad_(False)
        self.adapter = nn.Linear(16, 3)
        self.adapter.requires_grad_({TRAINED})

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.adapter(torch.relu(self.encoder(x))), y)
        {SET}return loss
""" + ADAM + """
pl.Trainer(max_epochs=2).fit(Net(), DataLoader(classes(), batch_size=16))
""",
        {"TRAINED": ("False", "True"), "SET": ("loss.requires_grad = True\n        ", "")},
        r"no parameter has changed because requires_grad is False", r"Unfreeze",
    ),
    Patient(
        "target-of-one", "andrewgcodes/xlstm#4",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.mse_loss(self.net(x), {TARGET})
        self.log("loss", loss)
        return loss
""" + ADAM + """
pl.Trainer(max_epochs=2).fit(Net(), DataLoader(regression(), batch_size=10))
""",
        {"TARGET": ("y[:1]", "y")}, r"\[?10, 1\]?.*\[?1, 1\]?", r"same shape",
    ),
]  # fmt: skip
