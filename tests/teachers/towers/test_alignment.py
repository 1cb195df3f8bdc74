"""LEARN's network scores by cosine, reads the past alone, and an item as it reads a history."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.data.examples import PreparedData
from bench.teachers.towers.alignment import PreferenceAlignment, in_batch
from bench.teachers.towers.fitting import full_softmax
from bench.training.rows import DeviceRows

N, WIDTH = 30, 16


@pytest.fixture
def texts() -> Tensor:
    return torch.randn(N, 24, generator=torch.Generator().manual_seed(5))


def network(texts: Tensor, normalise: str = "l2", dropout: float = 0.0) -> PreferenceAlignment:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return PreferenceAlignment(texts, normalise, WIDTH, 2, 2, 12, dropout, 20.0).eval()


def scores(towers: PreferenceAlignment, history: list[list[int]], length: list[int]) -> Tensor:
    with torch.no_grad():
        points = towers.points()
        queries = towers.queries(points, torch.tensor(history), torch.tensor(length))
        return towers.logits(points, queries)


def test_scores_are_cosines_times_the_scale(texts: Tensor) -> None:
    towers = network(texts)
    points = towers.points().double().numpy()
    with torch.no_grad():
        query = towers.queries(towers.points(), torch.tensor([[3, 7, 2, 0]]), torch.tensor([3]))
    vector = query[0].double().numpy()
    lengths = np.linalg.norm(points, axis=1) * np.linalg.norm(vector)
    expected = 20 * (points @ vector) / lengths
    np.testing.assert_allclose(scores(towers, [[3, 7, 2, 0]], [3])[0], expected, atol=1e-4)
    # The exported distance and the score are one thing.
    distance = np.linalg.norm(points - vector, axis=1)
    np.testing.assert_allclose(distance, np.sqrt(2 - 2 * expected / 20), atol=1e-5)
    assert towers.unit() == 1.0


def test_with_l2_only_the_direction_of_a_text_vector_counts(texts: Tensor) -> None:
    stretched = texts * torch.rand(N, 1).add(0.1).mul(7)
    history = ([[3, 7, 2, 0]], [3])
    torch.testing.assert_close(
        scores(network(texts), *history), scores(network(stretched), *history)
    )
    other = scores(network(stretched, "standardise"), *history)
    assert not torch.allclose(scores(network(texts, "standardise"), *history), other)


def test_an_item_is_a_history_of_itself(texts: Tensor) -> None:
    towers = network(texts)
    with torch.no_grad():
        points = towers.points()
        # Two places, one of them padding, so that attention is computed in full.
        history = torch.nn.functional.pad(torch.arange(1, N + 1)[:, None], (0, 1))
        queries = towers.queries(points, history, torch.ones(N, dtype=torch.long))
    torch.testing.assert_close(queries, points)
    torch.testing.assert_close(towers.items_of(torch.tensor([4, 9])), points[[3, 8]])


def test_padding_says_nothing_and_order_does(texts: Tensor) -> None:
    towers = network(texts)
    short = scores(towers, [[3, 7, 2]], [3])
    torch.testing.assert_close(scores(towers, [[3, 7, 2, 0, 0]], [3]), short)
    torch.testing.assert_close(scores(towers, [[3, 7, 2, 9, 1]], [3]), short)  # what comes later
    # Without positions the order enters through the causal mask.
    assert not torch.allclose(scores(towers, [[7, 3, 2]], [3]), short, atol=1e-4)
    assert not torch.allclose(scores(towers, [[3, 2, 7]], [3]), short, atol=1e-4)


def plain(towers: PreferenceAlignment, history: list[int]) -> np.ndarray:
    """The vector of one history in NumPy."""
    p = {name: value.detach().double().numpy() for name, value in towers.state_dict().items()}

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()

    states = norm(linear(p["texts"][np.array(history) - 1], "enter"), "norm")
    for block in ("blocks.0", "blocks.1"):
        q, k, v = (linear(states, f"{block}.{name}") for name in ("query", "key", "value"))
        mixed = np.zeros_like(states)
        for head in (slice(0, 8), slice(8, 16)):
            for place in range(len(history)):
                weight = np.exp(k[: place + 1, head] @ q[place, head] / np.sqrt(8))
                mixed[place, head] = weight @ v[: place + 1, head] / weight.sum()
        states = norm(states + linear(mixed, f"{block}.attended"), f"{block}.norm_attended")
        inner = gelu(linear(states, f"{block}.feed_forward.0"))
        states = norm(states + linear(inner, f"{block}.feed_forward.2"), f"{block}.norm_out")
    out = linear(states[-1], "leave")
    return out / np.linalg.norm(out)


def test_the_network_in_numpy(texts: Tensor) -> None:
    towers = network(texts)
    batch = [[3, 7, 2, 5], [9, 4, 0, 0], [8, 0, 0, 0]]
    with torch.no_grad():
        queries = towers.queries(towers.points(), torch.tensor(batch), torch.tensor([4, 2, 1]))
    for row, query in zip(batch, queries.numpy(), strict=True):
        np.testing.assert_allclose(query, plain(towers, [i for i in row if i]), atol=1e-5)


def test_the_loss_in_the_batch_never_leaves_the_target_out(texts: Tensor) -> None:
    towers = network(texts)
    # A target that is in its history, one that is in another row's, and one that occurs twice.
    history = torch.tensor([[3, 7, 0], [5, 9, 2], [7, 1, 0], [4, 0, 0]])
    length, target = torch.tensor([2, 3, 2, 1]), torch.tensor([3, 7, 5, 5])
    with torch.no_grad():
        points = towers.points()
        table = towers.logits(points, towers.queries(points, history, length)).double().numpy()
        value = float(in_batch(towers, history, length, target))
    expected = []
    for row, own in enumerate(target.tolist()):
        others = set(target.tolist()) - set(history[row].tolist()) - {own}
        candidates = [own, *others]
        excess = table[row, np.array(candidates) - 1] - table[row, own - 1]
        expected.append(np.log(np.exp(excess).sum()))
    assert value == pytest.approx(np.mean(expected), rel=1e-5)


def test_both_losses_reach_every_parameter_that_a_history_needs(
    texts: Tensor, data: PreparedData
) -> None:
    for loss in (in_batch, full_softmax):
        towers = network(texts)
        rows = DeviceRows.of(data.train, torch.device("cpu"))
        loss(towers, rows.history[:40], rows.length[:40], rows.target[:40]).backward()
        for name, parameter in towers.named_parameters():
            # What every key has more than another one cancels in the attention.
            if not name.endswith("key.bias"):
                assert parameter.grad is not None and parameter.grad.abs().max() > 1e-7, name
