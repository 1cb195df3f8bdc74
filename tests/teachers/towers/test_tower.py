from __future__ import annotations

import torch

from bench.teachers.towers.tower import Towers


def gradients() -> list[torch.Tensor]:
    torch.manual_seed(0)
    towers = Towers(torch.randn(300, 32), 10, 64, 4, 64, 0.0)
    history = torch.randint(1, 301, (512, 10))
    points = towers.items()
    queries = towers.queries(points, history, torch.full((512,), 10))
    towers.logits(points, queries).logsumexp(dim=1).sum().backward()
    return [p.grad for p in towers.parameters() if p.grad is not None]


def test_several_threads_give_the_same_gradients_every_time() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = gradients()
        for _ in range(5):
            assert all(torch.equal(a, b) for a, b in zip(first, gradients(), strict=True))
    finally:
        torch.set_num_threads(threads)
