"""``pytest --faultlab`` on suites whose tests train plain modules of torch, by loops of their own."""

from __future__ import annotations

import pytest

from tests.suites import MODEL as LIGHTNING
from tests.suites import faultlabbed, run

pytestmark = pytest.mark.filterwarnings("ignore")
MORE = pytest.mark.nightly(
    reason="one more suite of loops; the quick ring has a good one, and one without anything to break"
)

LOOP = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

        def forward(self, x):
            return self.body(x)


    def loaders():
        x = torch.randn(48, 4, generator=torch.Generator().manual_seed(0))
        y = (x.sum(1) > 0).long()
        return DataLoader(TensorDataset(x[:32], y[:32]), 8, shuffle=True), DataLoader(TensorDataset(x[32:], y[32:]), 16)


    def fit(model, loader, epochs=5):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(epochs):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        return model


    def accuracy(model, loader):
        model.eval()
        with torch.no_grad():
            return sum(int((model(x).argmax(1) == y).sum()) for x, y in loader) / len(loader.dataset)
"""
GOOD = """
    import torch
    from mymodel import Net, accuracy, fit, loaders


    def test_it_learns():
        train, validation = loaders()
        assert accuracy(fit(Net(), train), validation) >= 0.8


    def test_a_forward_has_two_scores_for_each_sample():
        assert Net()(torch.zeros(3, 4)).shape == (3, 2)
"""
WEAK = """
    from mymodel import Net, fit, loaders


    def test_it_runs():
        fit(Net(), loaders()[0])
"""
FAULTS = """loss.nan gradient.negated label.constant optimizer.double-step forward.extra-class process.killed
    scheduler.unstepped batch.none"""


def test_good_tests_of_a_loop_detect_what_breaks_its_training(pytester: pytest.Pytester) -> None:
    ran = faultlabbed(pytester, GOOD, "--faultlab-matrix", select=FAULTS, model=LOOP)
    assert ran.status == 0, ran.text
    ran.says("target: mymodel.Net", "only test to detect")
    assert ran.verdicts == {
        "batch.none": "detected",
        "forward.extra-class": "detected",
        "gradient.negated": "detected",
        "label.constant": "detected",
        "loss.nan": "detected",
        "optimizer.double-step": "silent",
        "process.killed": "detected",
        "scheduler.unstepped": "not_applicable",
    }
    assert ran.kinds("gradient.negated")["test_it_learns"] == "test"
    assert ran.kinds("batch.none") == {"test_it_learns": "framework"}
    # A module that no test trains is broken where it is called.
    assert ran.kinds("forward.extra-class")["test_a_forward_has_two_scores_for_each_sample"] == "test"
    cells = ran.cells("gradient.negated")
    assert (cells["test_it_learns"]["activations"], cells["test_it_learns"]["first_step"]) == (20, 0)
    # A single event happens halfway through the test's own training.
    assert ran.cells("loss.nan")["test_it_learns"]["first_step"] == 10


FIRST = """
    from torch import nn
    from mymodel import Net, fit, loaders


    def loss_of(model, loader):
        return sum(nn.functional.cross_entropy(model(x), y).item() for x, y in loader) / len(loader)


    def test_the_loss_falls():
        train, validation = loaders()
        model = Net()
        before = loss_of(model, train)
        fit(model, train)
        assert loss_of(model, validation) < before
"""


@MORE
def test_what_is_evaluated_before_the_training_is_not_taken_for_it(pytester: pytest.Pytester) -> None:
    ran = faultlabbed(pytester, FIRST, select="label.constant gradient.negated", model=LOOP)
    assert ran.verdicts["label.constant"] == "detected", ran.text
    assert ran.verdicts["gradient.negated"] == "detected"


@MORE
def test_weak_tests_of_a_loop_detect_only_what_crashes(pytester: pytest.Pytester) -> None:
    ran = faultlabbed(pytester, WEAK, "--faultlab-fail-under=0.9", select=FAULTS, model=LOOP)
    assert ran.status == 1, ran.text
    detected = {mode for mode, status in ran.verdicts.items() if status == "detected"}
    assert detected == {"batch.none", "process.killed"}
    ran.says("silent: 5, under which every test passes", "FAULTLAB FAILED: coverage 0.29 is below 0.9")


SEVERAL = """
    import pytest
    import torch
    from torch import nn
    from mymodel import Net, accuracy, fit, loaders

    KNOWN = nn.Linear(4, 2)


    @pytest.fixture(scope="module")
    def trained():
        return fit(Net(), loaders()[0])


    def test_a_fixture_that_trains(trained):
        assert accuracy(trained, loaders()[1]) >= 0.8


    def test_two_models_in_turn():
        train, validation = loaders()
        models = [fit(Net(), train), fit(Net(), train)]
        assert all(accuracy(model, validation) >= 0.8 for model in models)


    def test_optimizers_made_ahead():
        train, _ = loaders()
        models = [Net(), Net()]
        optimizers = [torch.optim.SGD(model.parameters(), lr=0.5) for model in models]
        for model, optimizer in zip(models, optimizers):
            for x, y in train:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()


    def test_one_batch_is_overfit():
        x, y = next(iter(loaders()[0]))
        model = Net()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        for _ in range(40):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        assert loss.item() < 0.05


    def test_a_module_that_was_made_before():
        fit(KNOWN, loaders()[0])
        assert torch.isfinite(KNOWN.weight).all()


    def test_two_networks_by_turns():
        maker, judge = nn.Sequential(nn.Linear(2, 4)), nn.Sequential(nn.Linear(4, 1))
        own, other = (torch.optim.SGD(part.parameters(), lr=0.1) for part in (maker, judge))
        for _ in range(4):
            other.zero_grad()
            (judge(maker(torch.randn(8, 2)).detach()).mean() - judge(torch.randn(8, 4)).mean()).backward()
            other.step()
            own.zero_grad()
            (-judge(maker(torch.randn(8, 2))).mean()).backward()
            own.step()
        assert torch.isfinite(maker[0].weight).all()
"""


@MORE
def test_every_training_of_a_test_has_the_fault_and_counts_its_own_steps(pytester: pytest.Pytester) -> None:
    select = "weights.nan gradient.negated"
    ran = faultlabbed(pytester, SEVERAL, "--faultlab-matrix", select=select, model=LOOP)
    assert ran.status == 0, ran.text
    acted = {test: (cell["activations"], cell["first_step"]) for test, cell in ran.cells("weights.nan").items()}
    assert acted == {
        "test_a_fixture_that_trains": (1, 10),
        "test_two_models_in_turn": (2, 10),
        "test_optimizers_made_ahead": (2, 2),
        "test_one_batch_is_overfit": (1, 20),
        "test_a_module_that_was_made_before": (1, 10),
        "test_two_networks_by_turns": (1, 4),
    }
    acted = {test: (cell["activations"], cell["first_step"]) for test, cell in ran.cells("gradient.negated").items()}
    assert acted == {
        "test_a_fixture_that_trains": (20, 0),
        "test_two_models_in_turn": (40, 0),
        "test_optimizers_made_ahead": (8, 0),
        "test_one_batch_is_overfit": (40, 0),
        "test_a_module_that_was_made_before": (20, 0),
        "test_two_networks_by_turns": (8, 0),
    }
    assert set(ran.tests["targets"]) == {
        "mymodel.Net",
        "torch.nn.modules.linear.Linear",
        "torch.nn.modules.container.Sequential",
    }


UNTRAINED = """
    import torch
    from mymodel import Net


    def test_a_forward():
        assert Net()(torch.zeros(3, 4)).shape == (3, 2)
"""


@pytest.mark.parametrize(
    ("suite", "option", "said"),
    [
        (
            UNTRAINED,
            "-q",
            "there is nothing to break: no test builds a LightningModule or steps an optimizer of torch's",
        ),
        pytest.param(
            GOOD,
            "--faultlab-target=mymodel:Other",
            "The tests build no LightningModule, and train mymodel.Net by loops.",
            marks=MORE,
        ),
    ],
    ids=["nothing is trained", "target"],
)
def test_a_suite_without_a_target_ends_with_status_4_and_the_reason(
    pytester: pytest.Pytester, suite: str, option: str, said: str
) -> None:
    ran = run(pytester, suite, "--faultlab", option, model=LOOP)
    assert ran.status == 4, ran.text
    ran.says(said)


@MORE
def test_one_fault_is_injected_into_a_plain_run_of_loops(pytester: pytest.Pytester) -> None:
    options = ("--faultlab-inject=gradient.negated", "--faultlab-learnt=learnt.json", "-v", "-p", "no:randomly")
    ran = run(pytester, GOOD, *options, model=LOOP)
    assert ran.status == 1
    ran.says("test_suite.py::test_it_learns FAILED", "= 1 failed, 1 passed")
    again = run(pytester, GOOD, *options, model=LOOP)
    assert (again.status, "= 1 failed, 1 passed" in again.text) == (1, True), again.text


BOTH = """
    from mymodel import is_finite, trained
    import torch
    from torch import nn


    def test_a_trainer():
        assert is_finite(trained())


    def test_a_loop():
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(4):
            optimizer.zero_grad()
            model(torch.ones(2, 4)).mean().backward()
            optimizer.step()
        assert torch.isfinite(model.weight).all()
"""


@MORE
def test_tests_with_and_without_a_trainer_are_broken_each_in_its_way(pytester: pytest.Pytester) -> None:
    ran = faultlabbed(pytester, BOTH, "--faultlab-matrix", select="weights.nan", model=LIGHTNING)
    assert ran.kinds("weights.nan") == {"test_a_trainer": "test", "test_a_loop": "test"}, ran.text
    assert set(ran.tests["targets"]) == {"mymodel.LitModel", "torch.nn.modules.linear.Linear"}


HF = """
    from tests.frameworks import hf_written


    def test_two_trainings():
        trainers = [hf_written.trainer(), hf_written.trainer()]
        for trainer in trainers:
            trainer.train()
        assert all(trainer.evaluate()["eval_loss"] < 0.65 for trainer in trainers)
"""


@MORE
def test_the_trainer_of_hugging_face_is_followed_in_tests(pytester: pytest.Pytester) -> None:
    pytest.importorskip("transformers")
    ran = faultlabbed(pytester, HF, "--faultlab-matrix", select="gradient.negated label.constant@step=3", model=LOOP)
    assert ran.kinds("gradient.negated") == {"test_two_trainings": "test"}, ran.text
    cell = ran.cells("label.constant@step=3")["test_two_trainings"]
    assert (cell["activations"], cell["first_step"]) == (2, 3)
