"""Memory for blocks of scores, [rows, items], laid out so that products write it fast."""

from __future__ import annotations

from torch import Tensor

LINE_BYTES = 64
"""A cache line, and as much as a vector register of AVX-512 holds."""


def row_stride(columns: int, element_bytes: int) -> int:
    """Elements from one row of `columns` to the next, if rows begin at whole cache lines.

    A product over the catalogue writes far more than it reads, and takes up to twice as long where
    rows begin within a line. The values are the same, bit for bit.
    """
    line = max(1, LINE_BYTES // element_bytes)
    return -(-columns // line) * line


def empty_block(rows: int, columns: int, like: Tensor) -> Tensor:
    """A view [rows, columns] of fresh memory, of the type and on the device of `like`."""
    stride = row_stride(columns, like.element_size())
    return like.new_empty(rows, stride)[:, :columns]
