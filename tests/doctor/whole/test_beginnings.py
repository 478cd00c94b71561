"""Models that begin with the weights beside their configuration, and those that do not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from faultlab.doctor.whole.beginnings import Beginnings
from faultlab.doctor.whole.stages import STAGES


class _Net(nn.Module):
    def __init__(self, folder: str, head: int = 3) -> None:
        super().__init__()
        self.config = SimpleNamespace(_name_or_path=folder)
        self.base = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 8))
        self.head = nn.Linear(8, head)


def _told(model: nn.Module) -> list[str]:
    looking = Beginnings()
    looking.called(model)
    return [one.what for one in STAGES.run({"whole": {"beginning": looking.found}})]


def test_a_model_that_has_the_configuration_alone_is_found(tmp_path: Path) -> None:
    torch.save(_Net("").state_dict(), tmp_path / "pytorch_model.bin")
    (found,) = _told(_Net(str(tmp_path), head=5))
    assert "begins with none of them" in found


def test_a_model_with_the_loaded_weights_and_a_new_head_is_healthy(tmp_path: Path) -> None:
    pretrained, model = _Net(""), _Net(str(tmp_path), head=5)
    torch.save(pretrained.state_dict(), tmp_path / "pytorch_model.bin")
    model.base.load_state_dict(pretrained.base.state_dict())
    assert _told(model) == []
    torch.save(pretrained.base.state_dict(), tmp_path / "pytorch_model.bin")
    assert _told(model) == []


def test_a_folder_without_weights_and_another_model_are_healthy(tmp_path: Path) -> None:
    assert _told(_Net(str(tmp_path))) == []
    torch.save(nn.Linear(4, 8).state_dict(), tmp_path / "pytorch_model.bin")
    assert _told(_Net(str(tmp_path))) == []
    assert _told(nn.Linear(4, 8)) == []
