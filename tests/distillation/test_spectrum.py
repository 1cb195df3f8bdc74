"""Principal components against NumPy, and what may be whitened."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.distillation.spectrum import Spectrum

N, D = 40, 6


def vectors(seed: int = 0, items: int = N, size: int = D) -> torch.Tensor:
    """[N + 1, D] with columns of different spread; the padding row is not zero."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(items + 1, size, generator=generator) * torch.arange(1, size + 1) + 3
    table[0] = 1000
    return table


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), items=st.integers(3, 30), size=st.integers(1, 12))
def test_components_have_the_covariance_of_the_vectors(seed: int, items: int, size: int) -> None:
    table = vectors(seed, items, size)
    spectrum = Spectrum.of(table)
    z = table[1:].double().numpy()
    wanted = np.sort(np.linalg.eigvalsh(np.atleast_2d(np.cov(z, rowvar=False))))[::-1]
    rank = min(size, items - 1)
    assert spectrum.rank == rank
    np.testing.assert_allclose(spectrum.variances, wanted[:rank], rtol=1e-6)
    back = spectrum.components @ spectrum.axes.T
    np.testing.assert_allclose(back, z - z.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(spectrum.axes.T @ spectrum.axes, np.eye(rank), atol=1e-9)


def test_weights_are_repetitions_of_items_but_for_the_divisor() -> None:
    table, counts = vectors(), torch.arange(N + 1).float()
    spectrum = Spectrum.of(table, counts)
    z = np.repeat(table[1:].double().numpy(), np.arange(1, N + 1), axis=0)
    shares = np.arange(1, N + 1) / np.arange(1, N + 1).sum()
    wanted = np.linalg.eigvalsh(np.cov(z, rowvar=False, bias=True))[::-1]
    np.testing.assert_allclose(spectrum.variances, wanted / (1 - (shares**2).sum()), rtol=1e-6)


def test_signs_do_not_depend_on_the_decomposition() -> None:
    table = vectors()
    axes = Spectrum.of(table).axes
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    assert (largest > 0).all()
    torch.testing.assert_close(Spectrum.of(torch.cat([table[:1], table[1:].flip(0)])).axes, axes)


def test_whitened_columns_have_variance_one_and_no_correlation() -> None:
    spectrum = Spectrum.of(vectors())
    for made, size in ((spectrum.whitened(4), 4), (spectrum.zca(D), D)):
        np.testing.assert_allclose(np.cov(made.numpy(), rowvar=False), np.eye(size), atol=1e-9)
    # ZCA is the whitening that stays nearest to the vectors: it is symmetric.
    z = vectors()[1:].double().numpy()
    values, axes = np.linalg.eigh(np.cov(z, rowvar=False))
    expected = (z - z.mean(axis=0)) @ (axes / np.sqrt(values)) @ axes.T
    np.testing.assert_allclose(spectrum.zca(D), expected, atol=1e-6)


def test_a_dimension_that_is_noise_is_left_out() -> None:
    table = vectors()
    table[:, 2] = 5.0
    table[:, 3] = 2 * table[:, 1]
    spectrum = Spectrum.of(table)
    assert spectrum.rank == D - 2
    assert torch.isfinite(spectrum.whitened(D)).all()


def test_vectors_that_are_all_the_same_have_no_components() -> None:
    spectrum = Spectrum.of(torch.ones(N + 1, D))
    assert spectrum.rank == spectrum.to_whiten(D) == 0
    assert torch.equal(spectrum.zca(0), torch.zeros(N, D, dtype=torch.float64))
    assert all(np.isfinite(list(spectrum.facts(1).values())))


@pytest.mark.parametrize(("items", "kept"), [(8, 2), (16, 4), (24, 6), (100, 6), (2, 1)])
def test_few_items_are_whitened_in_few_dimensions_and_it_is_said(
    items: int, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    spectrum = Spectrum.of(vectors(items=items))
    with caplog.at_level(logging.WARNING):
        assert spectrum.to_whiten(D) == kept
    assert bool(caplog.messages) == (kept < min(D, items - 1))
    assert spectrum.to_whiten(1) == 1


def test_a_record_says_how_much_is_kept() -> None:
    even = Spectrum(torch.zeros(N, 4), torch.ones(4).double(), torch.eye(4))
    assert even.facts(1) == pytest.approx({"explained_variance": 0.25, "effective_rank": 4.0})
    one = Spectrum(torch.zeros(N, 2), torch.tensor([1.0, 0.0]), torch.eye(2))
    assert one.facts(1) == pytest.approx({"explained_variance": 1.0, "effective_rank": 1.0})
