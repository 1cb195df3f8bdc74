"""Rows on a device: half the memory of int64, and int64 to whoever reads them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.examples import Examples
from bench.training.rows import DeviceRows, Stored, stored

NARROW = torch.arange(1, 21, dtype=torch.int32).view(10, 2)
CHOSEN, ZEROS = torch.tensor([3, 1]), torch.zeros(10, 1, dtype=torch.int64)

READS: dict[str, Callable[[Tensor], Any]] = {
    "index": lambda t: t[CHOSEN],
    "slice": lambda t: t[2:5],
    "column": lambda t: t[:, 0],
    "mask": lambda t: t[t > 4],
    "iteration": lambda t: list(t)[1],
    "as an index": lambda t: torch.eye(30)[t],
    "embedding": lambda t: F.embedding(t, torch.eye(30)),
    "bag": lambda t: F.embedding_bag(t, torch.eye(30), mode="mean"),
    "comparison": lambda t: t == 3,
    "arithmetic": lambda t: 1 - 2 * t,
    "transposed": lambda t: t.T,
    "inside a list": lambda t: torch.cat([t, t]),
    "gather": lambda t: t.gather(1, ZEROS),
    "scatter": lambda t: torch.zeros(10, 30).scatter_(1, t, 1.0),
    "copied": lambda t: torch.zeros(10, 2, dtype=torch.int64).copy_(t),
    "keyword": lambda t: torch.bincount(input=t.flatten()),
    "unique": lambda t: t.unique(return_inverse=True)[1],
    "split": lambda t: t.split(3)[1],
    "largest": lambda t: t.max(),
    "to": lambda t: t.to("cpu"),
    "long": lambda t: t.long(),
    "clone": lambda t: t.clone(),
    "deep copy": copy.deepcopy,
    "data": lambda t: t.data,
    "NumPy": lambda t: t.numpy(),
    "array": np.asarray,
    "list": lambda t: t.tolist(),
    "facts": lambda t: (t.dtype, t.shape, len(t), t.dim(), t.size(1), t.device, t.numel()),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_stored_tensor_reads_as_int64(read: Callable[[Tensor], Any]) -> None:
    found, expected = read(stored(NARROW)), read(NARROW.long())
    assert type(found) is type(expected)
    if isinstance(expected, Tensor):
        assert found.dtype == expected.dtype
    if isinstance(expected, Tensor | np.ndarray):
        assert np.array_equal(found, expected)
    else:
        assert found == expected


def test_a_write_reaches_the_memory_and_is_counted() -> None:
    narrow = NARROW.clone()
    tensor = stored(narrow)
    twin = tensor.detach()
    tensor[0] = 7
    tensor.add_(1)
    assert narrow[:2].tolist() == [[8, 8], [4, 5]]
    assert twin._version == tensor._version == 2
    assert isinstance(twin, Stored)


def test_rows_take_four_bytes_a_number() -> None:
    columns = [np.full((6, 3), 2, dtype=np.int32), *[np.arange(6, dtype=np.int32)] * 4]
    rows = DeviceRows.of(Examples(*columns), torch.device("cpu"))
    with torch._C.DisableTorchFunctionSubclass():
        assert {column.dtype for column in vars(rows).values()} == {torch.int32}
    part = rows.at(torch.tensor([4, 0]))
    assert part.user.tolist() == [4, 0] and part.user.dtype == torch.int64
    assert rows.sample(2, seed=0).history.dtype == torch.int64
