"""How much memory this process has, as Linux says."""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def is_known() -> bool:
    """Whether the system says it."""
    return _STATUS.is_file()


def high_water_mark() -> int:
    """The most there ever was, bytes.

    getrusage() would count what a parent had before this program replaced it.
    """
    return _read("VmHWM")


def forget_high_water_mark() -> None:
    """From now on, the most there ever was is what there is now."""
    _CLEAR.write_text("5", encoding="ascii")


def resident() -> int:
    """What there is now, bytes."""
    return _read("VmRSS")


def _read(name: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
