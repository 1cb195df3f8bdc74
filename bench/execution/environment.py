"""What a run ran on: versions, device and source, for the record."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from bench import __version__
from bench.errors import ConfigError
from bench.paths import SHIPPED

PACKAGES = ("torch", "recbole", "numpy", "pandas", "scipy", "pydantic", "safetensors")

Jobs = int | Literal["auto"]
"""How many trials run at once."""


def versions() -> dict[str, str | None]:
    """Versions of what a result may depend on; None for what is not installed."""
    return {name: _version(name) for name in PACKAGES}


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


def free_memory() -> None:
    """Give back what nothing refers to any more; a GPU's memory, to other processes as well."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def capture(device: str, threads: int) -> dict[str, Any]:
    """The environment of a run, as its records keep it (imports torch)."""
    return {
        "bench": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": " ".join(filter(None, (platform.system(), *platform.libc_ver()))),
        "machine": platform.machine(),
        "packages": versions(),
        "cores": available_cores(),
        "threads": threads,
        "device": device,
        "device_name": _device_name(device),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout, with `+changes` if files differ; None outside a checkout."""
    if not (SHIPPED / ".git").exists():
        return None
    try:
        commit, status = (_git("rev-parse", "HEAD"), _git("status", "--porcelain", "-uno"))
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+changes" if status else commit


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(SHIPPED), *arguments]
    done = subprocess.run(  # noqa: S603 - fixed arguments
        command, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(torch.device(device))
    return _processor() or platform.processor() or platform.machine()


def _processor() -> str | None:
    """The model of the CPU, which Python does not know on Linux; None elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, None)
