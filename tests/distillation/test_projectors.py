from __future__ import annotations

import pytest
import torch

from bench.distillation import Knowledge
from bench.distillation.projectors import normalised, principal_components, projector

from ..methods.conftest import N_ITEMS, TEACHER_DIM


def test_standardised_vectors_are_of_order_one_over_root_d(knowledge: Knowledge) -> None:
    z = normalised(knowledge.embeddings[1:] * 50 + 7, "standardise")
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(TEACHER_DIM), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(dim=0), torch.full((TEACHER_DIM,), TEACHER_DIM**-0.5))
    unit = normalised(knowledge.embeddings[1:], "l2")
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(N_ITEMS))


def test_a_constant_dimension_does_not_divide_by_zero(knowledge: Knowledge) -> None:
    z = knowledge.embeddings[1:].clone()
    z[:, 0] = 4.0
    assert torch.isfinite(normalised(z, "standardise")).all()


def test_principal_components_keep_distances_at_full_rank(knowledge: Knowledge) -> None:
    z = knowledge.embeddings[1:]
    reduced = principal_components(z, TEACHER_DIM)
    torch.testing.assert_close(torch.cdist(reduced, reduced), torch.cdist(z, z), atol=1e-2, rtol=0)
    assert principal_components(z, 4).shape == (N_ITEMS, 4)


@pytest.mark.parametrize(
    ("kind", "teacher_dim", "weights"),
    [("linear", 12, 12 * 5 + 5), ("mlp", 12, 12 * 3 + 3 + 3 * 5 + 5), ("mlp", 2, 9 + 3 * 5 + 5)],
)
def test_a_projector_has_the_stated_size(kind: str, teacher_dim: int, weights: int) -> None:
    module = projector(kind, teacher_dim, 5, 3)
    assert sum(p.numel() for p in module.parameters()) == weights
    assert module(torch.ones(3, teacher_dim)).shape == (3, 5)
