"""What a run ran on: versions, device and source, for the record."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import __version__
from bench.execution.devices import LOCAL, available_cores
from bench.paths import SHIPPED

PACKAGES = ("torch", "recbole", "numpy", "pandas", "scipy", "pydantic", "safetensors")


def versions() -> dict[str, str | None]:
    """Versions of what a result may depend on; None for what is not installed."""
    return {name: _version(name) for name in PACKAGES}


def capture(device: str, threads: int, executor: str = LOCAL) -> dict[str, Any]:
    """The environment of a run, as its records keep it (imports torch).

    Args:
        device: a torch device.
        threads: of torch on the CPU.
        executor: what started the process.
    """
    return {
        "bench": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": " ".join(filter(None, (platform.system(), *platform.libc_ver()))),
        "machine": platform.machine(),
        "packages": versions(),
        "cores": available_cores(),
        "threads": threads,
        "node": _node(),
        "executor": executor,
        "visible_gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "device": device,
        "device_name": _device_name(device),
        "instructions": _instructions(device),
    }


def _node() -> str:
    """Tells machines apart and names none: records are published."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


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


def _instructions(device: str) -> str | None:
    """The vector instructions torch uses on a CPU, such as `AVX2`: they decide the last bits."""
    if device != "cpu":
        return None
    import torch

    return torch.backends.cpu.get_cpu_capability()


def _processor() -> str | None:
    """The model of the CPU, which Python does not know on Linux; None elsewhere.

    With its numbers, since one name ("AMD EPYC") may be that of generations which differ in speed.
    """
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return None
    pairs = (line.partition(":") for line in first.splitlines())
    facts = {key.strip(): value.strip() for key, _, value in pairs}
    name = facts.get("model name")
    if name and {"cpu family", "model"} <= facts.keys():
        return f"{name} (family {facts['cpu family']}, model {facts['model']})"
    return name
