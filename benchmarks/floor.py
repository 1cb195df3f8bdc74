"""The arithmetic floor of a training step: its matrix products, and nothing else.

SASRec with its last layer at the position that is read, which a step that reads every row by
itself cannot do without (training at all positions can: it reads several rows at once); every
product forwards is followed by two backwards of the same size. The floor is given twice:
at the rate of large square matrices that stay in the cache, and as the time of the same products
at the shapes that a step has, which are narrow and write far more than they read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.turns import seconds

_SQUARE = 768
"""Three matrices of this size take 7 MB."""
_WIDTH, _HEADS, _LAYERS, _INNER = 64, 2, 2, 4
"""SASRec as `benchmarks.suite.STUDENT` is, inner layers as a multiple of the width."""


@dataclass(frozen=True)
class Product:
    """`many` independent products [m, k] x [k, n] forwards."""

    many: int
    m: int
    k: int
    n: int

    @property
    def operations(self) -> int:
        """Multiplications and additions, forwards and backwards."""
        return 3 * 2 * self.many * self.m * self.k * self.n


def products(batch: int, history: int, scored: int) -> Iterator[Product]:
    """What a step of SASRec multiplies, `scored` items a row."""
    width, tokens, head = _WIDTH, batch * history, _WIDTH // _HEADS
    for layer in range(_LAYERS):
        last = layer == _LAYERS - 1
        queries, each = (batch, 1) if last else (tokens, history)
        yield Product(1, queries, width, width)  # queries
        yield from [Product(1, tokens, width, width)] * 2  # keys and values
        yield Product(batch * _HEADS, each, head, history)
        yield Product(batch * _HEADS, each, history, head)
        yield Product(1, queries, width, width)  # the mixed heads
        yield Product(1, queries, width, _INNER * width)
        yield Product(1, queries, _INNER * width, width)
    if scored > 2:
        yield Product(1, batch, width, scored)
    else:
        yield Product(batch, 1, width, scored)


class Floor:
    """The products of one step, ready to be computed."""

    def __init__(self, batch: int, history: int, scored: int, device: str) -> None:
        """Args: scored: items that a row has scores of, the whole catalogue or a pair."""
        self.device = torch.device(device)
        self.products = list(products(batch, history, scored))
        self.operands = [self._operands(product) for product in self.products]
        self.squares = torch.rand(3, _SQUARE, _SQUARE, device=self.device)

    def operations(self) -> int:
        """Multiplications and additions of a step."""
        return sum(product.operations for product in self.products)

    def at_shapes(self) -> float:
        """Seconds of all products at their shapes, into memory that was touched before."""
        return seconds(self._multiply, self.device)

    def at_best(self) -> float:
        """Seconds of as many operations on large square matrices."""
        a, b, out = self.squares
        times = 20
        taken = seconds(lambda: [torch.mm(a, b, out=out) for _ in range(times)], self.device)
        return taken * self.operations() / (times * 2 * _SQUARE**3)

    def _operands(self, product: Product) -> tuple[Tensor, ...]:
        many, m, k, n = product.many, product.m, product.k, product.n
        shapes = [(many, m, k), (many, k, n), (many, m, n)]
        return tuple(torch.rand(shape, device=self.device) for shape in [*shapes, *shapes])

    def _multiply(self) -> None:
        for x, w, y, dx, dw, dy in self.operands:
            torch.bmm(x, w, out=y)
            torch.bmm(dy, w.mT, out=dx)
            torch.bmm(x.mT, dy, out=dw)
