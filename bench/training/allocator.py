"""What the C library does with memory that a training step frees."""

from __future__ import annotations

import contextlib
import ctypes
from functools import lru_cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, see malloc.h
_LARGEST_KEPT = 32 * 2**20
"""What glibc allows at most on 64 bits: larger pieces are the kernel's own, and go back to it."""


@lru_cache
def keep_freed_memory() -> None:
    """Let this process keep what it frees, for the next step to use again.

    Left alone, glibc gives the end of its heap back to the kernel after each step, and the next one
    waits for thousands of page faults, in some processes and not in others: up to a twentieth of a
    step was seen. Numbers are the same. Where there is no glibc, nothing happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - only glibc has it, and these numbers
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
