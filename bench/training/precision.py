"""How exactly the matrix products of training are computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from bench.training.config import Precision


@contextlib.contextmanager
def products(precision: Precision) -> Iterator[None]:
    """Float32 products in float32, or in TF32 where a device has it unless `precision` is float32.

    TF32 keeps 10 of the 23 bits of each factor's mantissa, and sums in float32. Left alone, torch
    would take TF32 inside cuDNN (GRU4Rec, Caser) and float32 outside. A program that sets torch's
    newer switches, such as `torch.backends.fp32_precision`, decides for itself.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    exact = precision == "float32"
    torch.set_float32_matmul_precision("highest" if exact else "high")
    torch.backends.cudnn.allow_tf32 = not exact
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def encoding(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Under `bf16`, what is computed within takes bfloat16 where torch's autocast says so.

    Casts are not kept: an encoder reads each parameter once a step, and a recorded step
    (`bench.training.replay`) must make its own.
    """
    return torch.autocast(
        device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False
    )


def factors(precision: Precision) -> torch.dtype:
    """What the factors of the softmax's products over the catalogue are rounded to.

    Under `bf16` these are scores of all items and the two products of their gradient. Scores of
    chosen items, robust terms, the mass of a softmax and all gradients stay float32.
    """
    return torch.bfloat16 if precision == "bf16" else torch.float32
