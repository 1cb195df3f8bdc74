"""A row times a matrix, with its gradient by hand, has the bits of autograd's own product."""

from __future__ import annotations

import pytest
import torch

from bench.students.models.sasrec import RowProduct

ROW, MATRIX = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("transposed", [False, True])
def test_values_and_gradients_are_those_of_matmul(dtype: torch.dtype, transposed: bool) -> None:
    row = torch.randn(7, 2, 1, 32, generator=ROW).to(dtype)
    # Keys lie transposed in memory, values do not.
    matrix = torch.randn(7, 10, 2, 32, generator=MATRIX).to(dtype)
    matrix = matrix.permute(0, 2, 3, 1) if transposed else matrix.transpose(1, 2).mT.contiguous()
    found = []
    for product in (RowProduct.of, torch.matmul):
        leaves = [x.detach().clone().requires_grad_() for x in (row, matrix)]
        value = product(*leaves)
        (value * torch.arange(10, dtype=dtype)).sum().backward()
        found.append([value, *(leaf.grad for leaf in leaves)])
    for own, autograds in zip(*found, strict=True):
        assert torch.equal(own, autograds)
