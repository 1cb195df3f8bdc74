"""Blocks of scores have rows at whole cache lines, and the bits of plain memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.blocks import LINE_BYTES, empty_block
from bench.training.output import BlockBuffers


@given(st.integers(1, 9), st.integers(1, 200), st.sampled_from([torch.float32, torch.bfloat16]))
def test_rows_begin_at_whole_cache_lines(rows: int, columns: int, dtype: torch.dtype) -> None:
    like, buffers = torch.empty(0, dtype=dtype), BlockBuffers()
    for block in (empty_block(rows, columns, like), buffers.take("a", rows, columns, like)):
        assert block.shape == (rows, columns) and block.dtype == dtype
        assert block.stride(1) == 1 and block.stride(0) * block.element_size() % LINE_BYTES == 0
        assert block.data_ptr() % LINE_BYTES == 0


@settings(max_examples=20)
@given(st.integers(1, 70), st.integers(2, 3000), st.sampled_from([16, 50, 64]), st.integers(0, 99))
def test_values_are_those_of_plain_memory(rows: int, items: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, width, generator=generator)
    table = torch.randn(items, width, generator=generator)
    plain, block = torch.empty(rows, items), empty_block(rows, items, hidden)
    for out in (plain, block):
        torch.mm(hidden, table.T, out=out)
        torch.sub(out, out.amax(dim=1, keepdim=True), out=out).exp_()
    assert torch.equal(plain, block)
    assert torch.equal(plain.sum(dim=1), block.sum(dim=1))
    assert torch.equal(plain @ table, block @ table)
    assert torch.equal(plain.T @ hidden, block.T @ hidden)


def test_a_buffer_is_kept_while_it_is_large_enough() -> None:
    buffers, like = BlockBuffers(), torch.empty(0)
    large = buffers.take("a", 8, 100, like)
    assert buffers.take("a", 4, 50, like).data_ptr() == large.data_ptr()
    assert buffers.take("b", 4, 50, like).data_ptr() != large.data_ptr()
    with pytest.raises(IndexError):
        large[8]
