"""Errors of trainings on several ranks."""

from __future__ import annotations

from faultlab.doctor.errors.known import Known

_PL, _PT = "Lightning-AI/pytorch-lightning", "pytorch/pytorch"

ERRORS = [
    Known(
        r"Expected to have finished reduction in the prior iter|parameters that were not used in producing the loss",
        "some parameters have no part in the loss of a step, so DistributedDataParallel waits for gradients that never "
        "come",
        "Let each parameter take part in each loss, or remove or freeze those that don't before the wrap. If this "
        "changes from step to step, set find_unused_parameters=True, or strategy='ddp_find_unused_parameters_true'.",
        f"{_PL}#17212",
    ),
    Known(
        r"environment variable (?P<name>RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT) expected, but not set",
        "init_process_group reads the variables of a launcher, and {name} is not set: the script was started without "
        "one, or a shell has set some of them only",
        "Start it by `torchrun --nproc_per_node=2 train.py`, and unset RANK, WORLD_SIZE and LOCAL_RANK in shells; with "
        "faultlab, set `ranks: 2` in the scenario.",
    ),
    Known(
        r"Address already in use|EADDRINUSE",
        "the port where the ranks meet (MASTER_PORT) is taken: by another training, or by ranks of a killed one",
        "Let the launcher choose a free one: `torchrun --rdzv-endpoint=localhost:0`. End ranks that are left over "
        "(`ss -ltnp` shows who listens).",
        f"{_PL}#697",
    ),
    Known(
        r"ProcessGroupNCCL is only supported with GPUs|doesn't have NCCL built in",
        "the process group is one of nccl, which needs a GPU for each rank",
        'Choose it by the machine: backend = "nccl" if torch.cuda.is_available() else "gloo".',
    ),
    Known(
        r"Default process group has not been initialized",
        "a collective, a DistributedSampler or DistributedDataParallel is used before init_process_group, after "
        "destroy_process_group, or in a process that is none of the ranks",
        "Call init_process_group first; if the script may also run alone, ask torch.distributed.is_initialized().",
    ),
    Known(
        r"trying to initialize the default process group twice",
        "init_process_group is called again while the process group exists",
        "Ask torch.distributed.is_initialized() first, or call destroy_process_group between two trainings.",
    ),
    Known(
        r"strategy `fsdp` requires a GPU accelerator",
        "FSDPStrategy trains on GPUs only",
        "Use strategy='ddp' on the CPU, or ModelParallelStrategy with fully_shard in configure_model.",
    ),
    Known(
        r"op\.preamble\.length <= op\.nbytes",
        "the ranks are in different collectives, or in one with tensors of different sizes: one of them has taken "
        "another path through the code",
        "Compare what each rank does before this line: a collective under `if rank == 0`, a last batch of another "
        "size, an exception that one rank has caught.",
    ),
    Known(
        r"Connection closed by peer|Connection reset by peer|Broken pipe",
        "another rank's process has ended, or raised, while this one waited for it",
        "Read the first error of all ranks, by time: this one is only its consequence.",
        f"{_PL}#8130",
    ),
    Known(
        r"Timed out waiting \d+ms for (?:recv|send) operation",
        "another rank has not entered the collective that this one waits in",
        "Look for collectives, barriers, validations or checkpoints under `if rank == 0`, and for ranks with fewer "
        "batches than others.",
        f"{_PT}#97191",
    ),
]  # fmt: skip
