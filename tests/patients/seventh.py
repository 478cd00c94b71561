"""Twenty after the doctor was mended for the sixth file's: other threads, again before it was shown any of them.

Of the twenty it named three: random validation samples, a monitor under its old name and an epoch's metric that a step
returns. On five more it named a symptom with another cause or remedy: batches of batches (as labels' shape), a loss
that is NaN (without the root of 0), a copy left at its start (as frozen weights), a loss logged by step alone (as not
logged) and a split made too late (as a misspelled attribute). Of twelve it said nothing: most of their losses and
labels mean something else than was meant, which no check can know from the code. `UNNAMED` lists those that it still
misses.
"""

from __future__ import annotations

from tests.patients.patient import Patient

_ADAM = """
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)

"""

_IMAGES = """
def pictures(n=128):
    images = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(n))
    return TensorDataset(images, images.flatten(1)[:, :3].argmax(1))

"""

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
    # The condition counts the optimizer, not the batch: the generator is trained in each one.
    Patient(
        "every-fifth-is-every-one",
        "nocotan/pytorch-lightning-gans#7",
        """
class Wgan(pl.LightningModule):
    def __init__(self, n_critic=5):
        super().__init__()
        self.automatic_optimization = False
        self.n_critic = n_critic
        self.generator = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4))
        self.critic = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))

    def training_step(self, batch, batch_idx):
        real, _ = batch
        for optimizer_idx, optimizer in enumerate(self.optimizers()):
            fake = self.generator(torch.randn(len(real), 2))
            if optimizer_idx == 0 and {COUNT} % self.n_critic == 0:
                loss = -self.critic(fake).mean()
            elif optimizer_idx == 1:
                loss = self.critic(fake.detach()).mean() - self.critic(real).mean()
            else:
                continue
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            for weight in self.critic.parameters():
                weight.data.clamp_(-0.01, 0.01)

    def configure_optimizers(self):
        return [torch.optim.RMSprop(net.parameters(), lr=5e-4) for net in (self.generator, self.critic)]


pl.Trainer(max_epochs=4).fit(Wgan(), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {"COUNT": ("optimizer_idx", "batch_idx")},
        r"optimizer_idx|n_critic|always|condition",
        r"batch_idx",
    ),
    # Validation gets the training set's random transform.
    Patient(
        "validated-as-trained",
        "Lightning-AI/tutorials#367",
        """
class Views(Dataset):
    def __init__(self, n, transform):
        self.images = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(n))
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        return self.transform(image), image.flatten()[:3].argmax()


def train_transform(image):
    return image + 0.2 * torch.randn_like(image)


def val_transform(image):
    return image


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))
"""
        + _ADAM
        + """
train_set, val_set = Views(128, train_transform), Views(64, {TRANSFORM})
loaders = DataLoader(train_set, batch_size=16, shuffle=True), DataLoader(val_set, batch_size=16)
pl.Trainer(max_epochs=3).fit(Net(), *loaders)
""",
        {"TRANSFORM": ("train_transform", "val_transform")},
        r"validation.*(random|augment|differ|another|each time)",
        r"without|augment|val_transform|random",
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
        + _ADAM
        + """
pl.Trainer(max_epochs=4).fit(Vae(kl_coeff=1e-3), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {"KL": ("kl", "self.kl_coeff * kl")},
        r"kl_coeff.*(never|not|unused|no effect)",
        r"kl_coeff",
    ),
    # The validation part is made in train_dataloader, which Lightning calls after val_dataloader.
    Patient(
        "split-in-the-wrong-loader",
        "Lightning-AI/pytorch-lightning#7050",
        """
from torch.utils.data import random_split


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
{EARLY}
    def train_dataloader(self):
{LATE}        return DataLoader(self.train_set, batch_size=16)

    def val_dataloader(self):
        return DataLoader(self.val_set, batch_size=16)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))
"""
        + _ADAM
        + """
pl.Trainer(max_epochs=2).fit(Net())
""",
        {
            "EARLY": (
                "",
                """
    def setup(self, stage):
        self.train_set, self.val_set = random_split(classes(), [96, 32])
""",
            ),
            "LATE": ("        self.train_set, self.val_set = random_split(classes(), [96, 32])\n", ""),
        },
        r"val_set.*(train_dataloader|before|not yet|order|later)",
        r"setup|__init__",
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
        + _ADAM
        + """
pl.Trainer(max_epochs=4).fit(Translator(), DataLoader(Sentences(), batch_size=16, shuffle=True))
""",
        {"IGNORED": ("", ", ignore_index=0")},
        r"[Pp]ad",
        r"ignore_index",
    ),
    # The momentum network's head is not in what is updated.
    Patient(
        "momentum-without-the-head",
        "Lightning-Universe/lightning-bolts#1059",
        """
import copy


class Moco(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder_q, self.head_q = nn.Sequential(nn.Linear(8, 16), nn.ReLU()), nn.Linear(16, 4)
        self.encoder_k, self.head_k = copy.deepcopy(self.encoder_q), copy.deepcopy(self.head_q)
        for net in (self.encoder_k, self.head_k):
            net.requires_grad_(False)

    @torch.no_grad()
    def momentum_update(self):
        for online, target in {PAIRS}:
            for one, other in zip(online.parameters(), target.parameters()):
                other.lerp_(one, 0.1)

    def training_step(self, batch, batch_idx):
        x, _ = batch
        self.momentum_update()
        query = F.normalize(self.head_q(self.encoder_q(x + 0.1 * torch.randn_like(x))), dim=1)
        with torch.no_grad():
            key = F.normalize(self.head_k(self.encoder_k(x)), dim=1)
        return F.cross_entropy(query @ key.T / 0.2, torch.arange(len(x)))

    def configure_optimizers(self):
        return torch.optim.Adam([*self.encoder_q.parameters(), *self.head_q.parameters()], lr=1e-2)


pl.Trainer(max_epochs=4).fit(Moco(), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {
            "PAIRS": (
                "[(self.encoder_q, self.encoder_k)]",
                "[(self.encoder_q, self.encoder_k), (self.head_q, self.head_k)]",
            )
        },
        r"head_k",
        r"head_k|momentum|update",
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
    # A list of one block many times over is one block.
    Patient(
        "one-block-many-times",
        "zalandoresearch/pytorch-vq-vae#2",
        """
class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.ReLU(), nn.Linear(16, 16))

    def forward(self, x):
        return x + self.block(x)


class Net(pl.LightningModule):
    def __init__(self, layers=4):
        super().__init__()
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 3)
        self.layers = nn.ModuleList({LAYERS})

    def training_step(self, batch, batch_idx):
        x, y = batch
        x = self.first(x)
        for layer in self.layers:
            x = layer(x)
        return F.cross_entropy(self.last(x), y)
"""
        + _ADAM
        + """
pl.Trainer(max_epochs=3).fit(Net(), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"LAYERS": ("[Residual()] * layers", "[Residual() for _ in range(layers)]")},
        r"(same|one) .*(layer|module|object|block)|share",
        r"for _ in range",
    ),
    # A value that is logged by step alone is none that a checkpoint can wait for.
    Patient(
        "logged-by-step-alone",
        "Lightning-AI/pytorch-lightning#10718",
        """
from pytorch_lightning.callbacks import ModelCheckpoint


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("valid_loss", F.mse_loss(self.net(x), y){WHEN})
"""
        + _ADAM
        + """
trainer = pl.Trainer(max_epochs=3, callbacks=[ModelCheckpoint(monitor="valid_loss")])
trainer.fit(Net(), DataLoader(regression(), batch_size=16), DataLoader(regression(32), batch_size=16))
""",
        {"WHEN": (", on_step=True, on_epoch=False", "")},
        r"on_epoch|on_step|step alone|only .*step",
        r"on_epoch=True|on_epoch|on_step",
    ),
    # The dataset makes batches, and the loader makes batches of them.
    Patient(
        "batches-of-batches",
        "tgisaturday/dalle-lightning#10",
        """
class Shards(IterableDataset):
    def __iter__(self):
        x, y = classes(256).tensors
        yield from zip(x.split(16), y.split(16))


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)
"""
        + _ADAM
        + """
pl.Trainer(max_epochs=3).fit(Net(), DataLoader(Shards(), batch_size={SIZE}))
""",
        {"SIZE": ("4", "None")},
        r"batch(es)? of batches|already.*batch|batch.*(twice|already)|\(4, 16",
        r"batch_size=None",
    ),
    # The gradients of the critic are never cleared.
    Patient(
        "critic-never-cleared",
        "Project-MONAI/GenerativeModels#102",
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
        making.zero_grad()
        self.manual_backward(F.softplus(-self.critic(fake)).mean())
        making.step()
{CLEAR}        wrong = F.softplus(-self.critic(real)).mean() + F.softplus(self.critic(fake.detach())).mean()
        self.manual_backward(wrong)
        judging.step()

    def configure_optimizers(self):
        return [torch.optim.Adam(net.parameters(), lr=1e-3) for net in (self.generator, self.critic)]


pl.Trainer(max_epochs=4).fit(Gan(), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {"CLEAR": ("", "        judging.zero_grad()\n")},
        r"(gradient|zero_grad).*(clear|zero|previous|accumul|still|never)",
        r"zero_grad",
    ),
    # What is monitored has another name than what is logged.
    Patient(
        "monitored-by-its-old-name",
        "facebookresearch/fastMRI#108",
        """
from pytorch_lightning.callbacks import ModelCheckpoint


class Mri(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("validation_loss", F.mse_loss(self.net(x), y))
"""
        + _ADAM
        + """
trainer = pl.Trainer(max_epochs=2, callbacks=[ModelCheckpoint(monitor="{MONITOR}")])
trainer.fit(Mri(), DataLoader(regression(), batch_size=16), DataLoader(regression(32), batch_size=16))
""",
        {"MONITOR": ("val_loss", "validation_loss")},
        r"val_loss.*(no step logs|not logged)",
        r"monitor",
    ),
    # Time and features are exchanged by view, which only cuts the numbers anew.
    Patient(
        "view-where-permute-is-meant",
        "vitrioil/Speech-Separation#4",
        """
class Separator(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3, padding=1)
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        hidden = self.conv(x)
        return self.head(hidden.{TURN}).squeeze(-1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.mse_loss(self(x), y)
        self.log("train_loss", loss)
        return loss
"""
        + _ADAM
        + """
waves = torch.randn(128, 4, 20, generator=torch.Generator().manual_seed(0))
data = TensorDataset(waves, waves.mean(1))
pl.Trainer(max_epochs=5).fit(Separator(), DataLoader(data, batch_size=16, shuffle=True))
""",
        {"TURN": ("view(len(x), 20, 8)", "transpose(1, 2)")},
        r"view|reshape",
        r"permute|transpose",
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
        + _ADAM
        + """
pl.Trainer(max_epochs=3).fit(Enhancer(), DataLoader(Speech(), batch_size=16, shuffle=True))
""",
        {"EPS": ("", ".add(1e-8)")},
        r"sqrt|root",
        r"eps|1e-|add",
    ),
    # A new normalization has seen a few steps, and validation goes by its statistics.
    Patient(
        "statistics-of-few-steps",
        "chemprop/chemprop#607",
        """
class Mpnn(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.messages = nn.Linear(4, 32)
        self.bn = nn.BatchNorm1d(32{TRACK})
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        return self.head(self.bn(20 + 10 * self.messages(x)).relu())

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.mse_loss(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.mse_loss(self(x), y))
"""
        + _ADAM
        + """
trainer = pl.Trainer(max_epochs=2)
trainer.fit(Mpnn(), DataLoader(regression(), batch_size=32, shuffle=True), DataLoader(regression(64), batch_size=32))
""",
        {"TRACK": ("", ", track_running_stats=False")},
        r"([Bb]atch.?[Nn]orm|running|statistics)",
        r"momentum|track_running_stats|longer|more steps",
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
        + _ADAM
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
        + _ADAM
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
        + _ADAM
        + """
pl.Trainer(max_epochs=4).fit(Pose(), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {"WEIGHT": ("self.weight * ", "")},
        r"twice|two times|squared|again",
        r"once|[Rr]emove",
    ),
    # What the end of validation computes is returned, and not logged.
    Patient(
        "metric-of-an-epoch-returned",
        "siddk/vqa-outliers#6",
        """
from pytorch_lightning.callbacks import ModelCheckpoint


class Vqa(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)
        self.right = []

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.right.append((self.net(x).argmax(1) == y).float().mean())

    def on_validation_epoch_end(self):
        log = {"val_acc": torch.stack(self.right).mean()}
        self.right.clear()
        {GIVE}
"""
        + _ADAM
        + """
trainer = pl.Trainer(max_epochs=3, callbacks=[ModelCheckpoint(monitor="val_acc", mode="max")])
trainer.fit(Vqa(), DataLoader(classes(), batch_size=16), DataLoader(classes(64), batch_size=16))
""",
        {"GIVE": ("return log", "self.log_dict(log)")},
        r"val_acc.*(no step logs|not logged|return)",
        r"self\.log",
    ),
]

# What the doctor still misses: meanings of losses and labels, and copies that are kept up to date in part.
UNNAMED = (
    "fakes-taken-for-real",
    "every-fifth-is-every-one",
    "momentum-without-the-head",
    "sum-here-and-mean-there",
    "batches-of-batches",
    "view-where-permute-is-meant",
    "statistics-of-few-steps",
    "prior-outweighs-the-data",
    "added-twice",
    "weighted-twice",
)
