"""Label smoothing against the cross entropy with the smoothed label, written out densely."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.distillation import Batch, Knowledge
from bench.distillation.followers import followers, last_items
from bench.training.objectives import cross_entropy
from methods.label_smoothing import LabelSmoothing

from .conftest import N_ITEMS, make_student, output
from .rows import batch_at, make_rows, with_rows

PRIORS = ["uniform", "popularity", "transition", "neighbours", "random"]
ROWS = [3, 11, 12, 40, 5, 60]


def attached(knowledge: Knowledge, **settings: object) -> LabelSmoothing:
    torch.manual_seed(4)
    method = LabelSmoothing(LabelSmoothing.Config(**settings))
    method.attach(make_student(), with_rows(knowledge))
    return method


def shares(prior: str, batch: Batch, knowledge: Knowledge, items: int) -> np.ndarray:
    """u of every row, float64 [B, N + 1], by loops from its definition."""
    rows, found = make_rows(), np.zeros((len(batch.target), N_ITEMS + 1))
    counts = knowledge.target_counts.double().numpy()
    vectors = knowledge.embeddings[1:].double().numpy()
    vectors = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0, ddof=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for b, y in enumerate(batch.target.tolist()):
        if prior == "uniform":
            found[b, 1:] = 1
        elif prior == "popularity":
            found[b] = counts**0.5
        elif prior == "transition":
            end = batch.history[b, batch.length[b] - 1]
            after = Counter(rows.target[last_items(rows) == end].tolist())
            for item in sorted(after, key=lambda item: (-after[item], item))[:items]:
                found[b, item] = after[item]
        elif prior == "neighbours":
            cosine = vectors @ vectors[y - 1]
            cosine[y - 1] = -np.inf
            near = cosine.argsort()[::-1][:items]
            found[b, near + 1] = np.exp(cosine[near] / 0.3)
    return found / found.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("items", [2, 500])
@pytest.mark.parametrize("prior", PRIORS[:4])
def test_with_the_base_loss_it_is_the_cross_entropy_of_the_smoothed_label(
    knowledge: Knowledge, prior: str, items: int
) -> None:
    batch, out, alpha = batch_at(ROWS), output(len(ROWS)), 0.3
    settings = {"weight": alpha, "exponent": 0.5, "items": items, "temperature": 0.3}
    method = attached(knowledge, prior=prior, **settings)
    label = alpha * torch.from_numpy(shares(prior, batch, knowledge, items))
    label[torch.arange(len(ROWS)), batch.target] += 1 - alpha
    hidden, table = (x.detach().double().requires_grad_() for x in (out.hidden, out.table))
    dense = F.cross_entropy((hidden @ table.T)[:, 1:], label[:, 1:])
    dense.backward()
    loss = cross_entropy(batch, out) + method.loss(batch, out)["label_smoothing"]
    loss.backward()
    torch.testing.assert_close(loss.double(), dense, rtol=1e-5, atol=1e-6)
    for found, wanted in ((out.hidden.grad, hidden.grad), (out.table.grad, table.grad)):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-6)


def test_the_term_adds_the_label_less_the_prior_to_the_gradient_of_scores(
    knowledge: Knowledge,
) -> None:
    batch, out = batch_at(ROWS), output(len(ROWS))
    unit = torch.eye(N_ITEMS + 1)[:, 1:]  # the table whose logits are the hidden state itself
    out = type(out)(torch.randn(len(ROWS), N_ITEMS).requires_grad_(), unit, out._buffers)
    method = attached(knowledge, weight=0.2, prior="popularity", exponent=0.5)
    method.loss(batch, out)["label_smoothing"].backward()
    wanted = -shares("popularity", batch, knowledge, 0)
    wanted[np.arange(len(ROWS)), batch.target] += 1
    np.testing.assert_allclose(out.hidden.grad, 0.2 * wanted[:, 1:] / len(ROWS), atol=1e-6)


def test_random_lists_are_fixed_for_every_row_and_any_items(knowledge: Knowledge) -> None:
    out, rows = output(2), batch_at([7, 7])
    method = attached(knowledge, prior="random", items=400)
    means = method.means(rows, type(out)(out.hidden[:1].expand(2, -1), out.table, out._buffers))
    assert means[0] == means[1]
    other = attached(knowledge, prior="random", items=400)
    torch.testing.assert_close(other.means(rows, out), method.means(rows, out))
    # Of many draws the mean is near that of the catalogue.
    many = attached(knowledge, prior="random", items=20_000).means(rows, out)
    torch.testing.assert_close(many, out.logits[:, 1:].mean(dim=1), atol=0.1, rtol=0)


@given(seed=st.integers(0, 1000), most=st.integers(1, 6))
def test_followers_are_those_that_a_counter_finds(seed: int, most: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = make_rows()
    target = torch.randint(1, 5, rows.target.shape, generator=generator)
    rows = dataclasses.replace(rows, target=target)
    ids, counts = followers(rows, N_ITEMS, most)
    assert ids.shape[1] <= most
    for item in range(N_ITEMS + 1):
        after = Counter(target[last_items(rows) == item].tolist())
        wanted = sorted(after.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
        found = zip(ids[item].tolist(), counts[item].tolist(), strict=True)
        assert [pair for pair in found if pair != (0, 0)] == wanted


def test_the_label_keeps_a_share() -> None:
    with pytest.raises(ValidationError, match="less than 1"):
        LabelSmoothing.Config(weight=1)


def test_only_neighbours_need_a_teacher() -> None:
    needs = {prior: LabelSmoothing.signals(LabelSmoothing.Config(prior=prior)) for prior in PRIORS}
    assert needs == {prior: set() for prior in PRIORS} | {"neighbours": {"embeddings"}}
