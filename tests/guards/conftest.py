"""Many small trainings in one process: threads that wait for each other would take most of their time."""

import torch

torch.set_num_threads(1)
