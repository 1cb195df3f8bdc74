"""Where trials run: the device, its threads and its memory, and how many at once."""

from __future__ import annotations

import gc
import os
from typing import Literal

from bench.errors import ConfigError

LOCAL = "local"
"""The executor of this machine."""

Jobs = int | Literal["auto"]
"""How many trials run at once."""

BFLOAT16 = ("amx_bf16", "avx512_bf16", "sve_bf16", "bf16")
"""Instructions that multiply bfloat16 and sum in float32, as `torch.cpu.get_capabilities` names
them (Intel and AMD; Arm). Without them bfloat16 takes up to twenty times as long as float32."""


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resolve_device(name: str) -> str:
    """`auto` is the GPU where there is one, else the CPU (imports torch).

    Raises:
        ConfigError: no such device here.
    """
    import torch

    usable = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if len(usable) > 1:
        usable.insert(1, "cuda")
    if name == "auto":
        return "cuda" if "cuda" in usable else "cpu"
    if name not in usable:
        raise ConfigError(
            f"--device {name}: not available here. Allowed: auto, {', '.join(usable)}"
        )
    return name


def set_up(device: str, threads: int | None) -> tuple[str, int]:
    """Resolve a device, and give torch its threads: what is used, both.

    Without `threads` every core is used, or as many as OMP_NUM_THREADS says.

    Raises:
        ConfigError: no such device here.
    """
    import torch

    # The number of threads decides the order of sums: the same number gives the same bits.
    _, threads = divide(1, threads)
    torch.set_num_threads(threads)
    return resolve_device(device), threads


def bfloat16_instructions() -> list[str] | None:
    """Those by which this CPU multiplies bfloat16, of `BFLOAT16`; None where torch cannot tell.

    Imports torch, which asks the processor.
    """
    import torch

    if not hasattr(torch.cpu, "get_capabilities"):  # an older one
        return None
    capabilities = torch.cpu.get_capabilities()
    return [name for name in BFLOAT16 if capabilities.get(name)]


def divide(jobs: Jobs, threads: int | None) -> tuple[int, int]:
    """How many trials run at once, and the threads of each (imports torch).

    `auto` is as many as the cores have room for with `threads` each, one if that is not said. It
    counts neither memory nor what a GPU can hold, nor how many trials are missing: a run that is
    continued divides as it did before, and its sums have the same bits.
    """
    import torch

    cores = available_cores()
    at_once = max(1, cores // (threads or 1)) if jobs == "auto" else jobs
    return at_once, threads or max(1, min(torch.get_num_threads(), cores // at_once))


def still_works(device: str) -> bool:
    """Whether this process can still use the torch device `device` (imports torch).

    Some CUDA errors, such as a failed assertion in a kernel, end all use of the device by the
    process: whatever it asks for afterwards raises the same error. Others, such as too little
    memory, pass. A wait for the device tells them apart and needs no memory.
    """
    import torch

    if not device.startswith("cuda"):
        return True
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def free_memory() -> None:
    """Give back what nothing refers to any more; a GPU's memory, to other processes as well."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
