"""Eight of the seventh file's twenty, of losses and labels."""

from __future__ import annotations

from tests.patients.patient import ADAM, Patient

PATIENTS = [
    # The critic is taught that the made-up samples are real ones.
    Patient(
        "fakes-taken-for-real",
        "SerezD/vqvae-vqgan-pytorch-lightning#3",
        """
class Gan(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4))
        self.critic = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))

    def training_step(self, batch, batch_idx):
        real, _ = batch
        making, judging = self.optimizers()
        fake = self.generator(torch.randn(len(real), 2))
        on_real, on_fake = self.critic(real), self.critic(fake.detach())
        real_loss = F.binary_cross_entropy_with_logits(on_real, torch.ones_like(on_real))
        fake_loss = F.binary_cross_entropy_with_logits(on_fake, torch.{LABELS}_like(on_fake))
        judging.zero_grad()
        self.manual_backward((real_loss + fake_loss) / 2)
        judging.step()
        making.zero_grad()
        told = self.critic(fake)
        self.manual_backward(F.binary_cross_entropy_with_logits(told, torch.ones_like(told)))
        making.step()

    def configure_optimizers(self):
        return [torch.optim.Adam(net.parameters(), lr=1e-3) for net in (self.generator, self.critic)]


pl.Trainer(max_epochs=4).fit(Gan(), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {"LABELS": ("ones", "zeros")},
        r"(label|target|ones).*(same|all|only|constant|1\b)|same.*(label|target)",
        r"zeros|fake",
    ),
    # The coefficient of a term is an argument, and is kept, and the loss does without it.
    Patient(
        "coefficient-kept-and-left-out",
        "Lightning-Universe/lightning-bolts#328",
        """
class Vae(pl.LightningModule):
    def __init__(self, kl_coeff=0.1):
        super().__init__()
        self.kl_coeff = kl_coeff
        self.encoder, self.decoder = nn.Linear(4, 4), nn.Linear(2, 4)

    def training_step(self, batch, batch_idx):
        x, _ = batch
        mean, spread = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * (0.5 * spread).exp()
        kl = -0.5 * (1 + spread - mean**2 - spread.exp()).sum(1).mean()
        return F.mse_loss(self.decoder(z), x) + {KL}
"""
        + ADAM
        + """
pl.Trainer(max_epochs=4).fit(Vae(kl_coeff=1e-3), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {"KL": ("kl", "self.kl_coeff * kl")},
        r"kl_coeff.*(never|not|unused|no effect)",
        r"kl_coeff",
    ),
    # What the sentences are filled up with is learned like their words.
    Patient(
        "padding-is-learned",
        "Lightning-Universe/lightning-transformers#266",
        """
class Sentences(Dataset):
    def __len__(self):
        return 128

    def __getitem__(self, index):
        drawn = torch.Generator().manual_seed(index)
        words = torch.zeros(20, dtype=torch.long)
        length = int(torch.randint(3, 7, (1,), generator=drawn))
        words[:length] = torch.randint(1, 12, (length,), generator=drawn)
        return words, words * 5 % 12


class Translator(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Embedding(12, 16, padding_idx=0), nn.Linear(16, 12))

    def training_step(self, batch, batch_idx):
        source, target = batch
        loss = F.cross_entropy(self.net(source).flatten(0, 1), target.flatten(){IGNORED})
        self.log("train_loss", loss)
        return loss
"""
        + ADAM
        + """
pl.Trainer(max_epochs=4).fit(Translator(), DataLoader(Sentences(), batch_size=16, shuffle=True))
""",
        {"IGNORED": ("", ", ignore_index=0")},
        r"[Pp]ad",
        r"ignore_index",
    ),
    # The training loss is a sum over the outputs, the validation loss a mean.
    Patient(
        "sum-here-and-mean-there",
        "Lightning-Universe/lightning-bolts#849",
        """
class Regression(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 16)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = {LOSS}
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.mse_loss(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def many(n):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x.repeat(1, 4))


trainer = pl.Trainer(max_epochs=3)
trainer.fit(Regression(), DataLoader(many(128), batch_size=16, shuffle=True), DataLoader(many(64), batch_size=16))
""",
        {"LOSS": ('F.mse_loss(self.net(x), y, reduction="sum") / len(x)', "F.mse_loss(self.net(x), y)")},
        r"\bsum\b.*mean|mean.*\bsum\b|reduction",
        r"mean|reduction",
    ),
    # The slope of a root is infinite at 0.
    Patient(
        "root-of-nothing",
        "mpariente/pytorch_stoi#7",
        """
class Speech(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        clean = torch.randn(8, generator=torch.Generator().manual_seed(index))
        return clean, clean if index % 16 else torch.zeros(8)


class Enhancer(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 8, bias=False)

    def training_step(self, batch, batch_idx):
        noisy, clean = batch
        told = self.net(noisy) * (clean != 0).any(1, keepdim=True)
        loudness = (told**2).sum(1){EPS}.sqrt()
        loss = F.mse_loss(told, clean) + (loudness - clean.norm(dim=1)).abs().mean()
        self.log("train_loss", loss)
        return loss
"""
        + ADAM
        + """
pl.Trainer(max_epochs=3).fit(Enhancer(), DataLoader(Speech(), batch_size=16, shuffle=True))
""",
        {"EPS": ("", ".add(1e-8)")},
        r"sqrt|root",
        r"eps|1e-|add",
    ),
    # The prior's term is many times the other: what is encoded collapses.
    Patient(
        "prior-outweighs-the-data",
        "luigibonati/mlcolvar#188",
        """
class Vae(pl.LightningModule):
    def __init__(self, beta={BETA}):
        super().__init__()
        self.beta = beta
        self.encoder = nn.Linear(4, 4)
        self.decoder = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4))

    def training_step(self, batch, batch_idx):
        x, _ = batch
        mean, spread = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * (0.5 * spread).exp()
        kl = -0.5 * (1 + spread - mean**2 - spread.exp()).sum(1).mean()
        reconstruction = F.mse_loss(self.decoder(z), 0.1 * x)
        self.log_dict({"reconstruction": reconstruction, "kl": kl})
        return reconstruction + self.beta * kl
"""
        + ADAM
        + """
pl.Trainer(max_epochs=10).fit(Vae(), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {"BETA": ("1.0", "1e-3")},
        r"kl|KL|term|collaps",
        r"beta|weight|smaller",
    ),
    # A term is added where the loss is made, and again where it is returned.
    Patient(
        "added-twice",
        "microsoft/protein-frame-flow#23",
        """
class Flow(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 4))

    def model_step(self, x):
        flow = self.net(x)
        losses = {"auxiliary": (flow[:, 1:] - flow[:, :-1]).abs().mean(), "field": F.mse_loss(flow, x)}
        losses["total"] = losses["field"] + losses["auxiliary"]
        return losses

    def training_step(self, batch, batch_idx):
        x, _ = batch
        losses = self.model_step(x)
        self.log_dict(losses)
        return losses["total"]{AGAIN}
"""
        + ADAM
        + """
pl.Trainer(max_epochs=4).fit(Flow(), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {"AGAIN": (' + losses["auxiliary"]', "")},
        r"twice|two times|again",
        r"once|[Rr]emove",
    ),
    # The weight of a term is applied where it is computed, and again where the terms are summed.
    Patient(
        "weighted-twice",
        "paninski-lab/lightning-pose#374",
        """
class Term:
    def __init__(self, weight, measure):
        self.weight, self.measure = weight, measure

    def __call__(self, told, truth):
        return {WEIGHT}self.measure(told, truth)


class Pose(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 4))
        self.terms = {"mse": Term(1.0, F.mse_loss), "smooth": Term(0.01, F.l1_loss)}

    def training_step(self, batch, batch_idx):
        x, _ = batch
        told = self.net(x)
        loss = 0.0
        for name, term in self.terms.items():
            loss = loss + term.weight * term(told, x)
        self.log("train_loss", loss)
        return loss
"""
        + ADAM
        + """
pl.Trainer(max_epochs=4).fit(Pose(), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {"WEIGHT": ("self.weight * ", "")},
        r"twice|two times|squared|again",
        r"once|[Rr]emove",
    ),
]
