"""Every row is in one block, and what a row has seen is not left to list."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from bench.data.rows import Rows
from bench.teachers.rows import blocks, unseen

SCORES = torch.tensor([[5.0, 4.0, 3.0, 2.0], [1.0, 2.0, 3.0, 4.0]])
HISTORY = torch.tensor([[2, 1, 0], [4, 3, 4]])
NEVER = -torch.inf


@pytest.mark.parametrize("size", [7, 240, 1000])
def test_blocks_hold_every_row_once_and_in_order(
    size: int, make_rows: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.teachers.rows.BLOCK", size)
    rows = make_rows(240, 0)
    parts, found = zip(*blocks(rows, "cpu"), strict=True)
    assert [len(block) for block in found] == [len(rows.target[part]) for part in parts]
    assert max(len(block) for block in found) <= size
    for name in ("history", "length", "target", "user", "ordinal"):
        column = torch.cat([getattr(block, name) for block in found])
        assert column.dtype == torch.int64
        np.testing.assert_array_equal(column, getattr(rows, name))


def test_what_was_seen_is_out() -> None:
    expected = torch.tensor([[NEVER, NEVER, NEVER, 3.0, 2.0], [NEVER, 1.0, 2.0, NEVER, NEVER]])
    assert torch.equal(unseen(SCORES, HISTORY), expected)
    assert torch.isfinite(SCORES).all()  # what was given is left as it is


def test_a_target_that_was_seen_stays() -> None:
    expected = torch.tensor([[NEVER, 5.0, NEVER, 3.0, 2.0], [NEVER, 1.0, 2.0, NEVER, 4.0]])
    assert torch.equal(unseen(SCORES, HISTORY, torch.tensor([1, 4])), expected)


def test_padding_is_never_listed_where_no_history_has_any() -> None:
    full = unseen(SCORES, torch.tensor([[1], [2]]), torch.tensor([3, 3]))
    assert (full[:, 0] == NEVER).all() and torch.isfinite(full[:, 3]).all()
