"""``pytest --faultlab`` among other modules, patches and injections: what is not the target is left alone."""

from __future__ import annotations

import pytest

from tests.suites import MODEL, faultlabbed

NEIGHBOURS = (
    MODEL
    + """

    LitModel.predict_step = lambda self, batch, batch_idx: self(batch[0])


    class Other(LitModel):
        def training_step(self, batch, index):
            return nn.functional.mse_loss(self(batch[0]), batch[1])


    class Heir(LitModel):
        pass


    def fit(model, **more):
        quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False)
        trainer = pl.Trainer(**{**quiet, "max_epochs": 1, "accelerator": "cpu", "enable_checkpointing": False, **more})
        trainer.fit(model, loader())
        return model
"""
)

SUITE = """
    import pytest
    import torch
    import faultlab
    import pytorch_lightning as pl
    from mymodel import Heir, LitModel, Other, fit, loader


    def learns(model):
        before = model.layer.weight.detach().clone()
        fit(model)
        return torch.isfinite(model.layer.weight).all() and not torch.equal(before, model.layer.weight)


    def test_the_others_learn():
        fit(LitModel())
        assert learns(Other())
        assert learns(Heir())


    def test_a_step_by_hand_after_another_ones_training():
        fit(Other())
        model = LitModel()
        model.log = lambda *args, **kwargs: None
        assert torch.isfinite(model.training_step(next(iter(loader())), 0))


    def test_predictions_that_nobody_looks_at():
        model = fit(LitModel())
        trainer = pl.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
        assert len(trainer.predict(model, loader())) == 4


    def test_checkpoints_are_where_the_test_goes(tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        fit(LitModel(), enable_checkpointing=True)
        assert list(tmp_path.glob("**/*.ckpt"))


    @pytest.fixture(scope="class")
    def cheaper():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LitModel, "training_step", lambda self, batch, index: self(batch[0]).sum() * 0 + 7)
            yield


    class TestReplaced:
        @pytest.mark.parametrize("number", [1, 2])
        def test_a_step_that_a_fixture_has_replaced(self, cheaper, number):
            assert fit(LitModel()).training_step(next(iter(loader())), 0) == 7


    def test_that_injects_by_itself():
        with faultlab.inject("loss.nan@step=1", target=LitModel):
            model = fit(LitModel())
        assert not torch.isfinite(model.layer.weight).all()
"""


@pytest.mark.nightly(
    reason="a suite of its own; test_injecting.py has that a module that is not the target is left alone"
)
def test_what_is_not_the_target_is_left_alone(pytester: pytest.Pytester) -> None:
    select = "optimizer.step-skipped loss.nan@step=0 forward.nan@always,stage=predict return.none"
    ran = faultlabbed(pytester, SUITE, "--faultlab-matrix", "--faultlab-target=mymodel:LitModel", select=select,
                      model=NEIGHBOURS)  # fmt: skip
    assert ran.tests["left_out"] == {}, ran.text
    assert not any("injects_by_itself" in entry["test"] for entry in ran.tests["tests"])
    kinds = ran.kinds("optimizer.step-skipped")
    assert kinds["test_the_others_learn"] == ""
    assert ran.kinds("loss.nan@step=0")["test_a_step_by_hand_after_another_ones_training"] == "test"
    predicted = ran.cells("forward.nan@always,stage=predict")["test_predictions_that_nobody_looks_at"]
    assert predicted["activations"] == 4
    assert ran.verdicts["forward.nan"] == "silent"
    assert ran.verdicts["return.none"] != "error"
