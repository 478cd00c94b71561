from pathlib import Path

import torch


def set_seeds(seed=42):
    torch.manual_seed(seed)
    torch.cuda.manual_seed(seed)


def save_model(model, target_dir, model_name):
    Path(target_dir).mkdir(parents=True, exist_ok=True)
    assert model_name.endswith((".pt", ".pth"))
    torch.save(obj=model.state_dict(), f=Path(target_dir) / model_name)
