"""Latency is that of single requests, warm, as a percentile of many."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.data.examples import Examples
from bench.evaluation import latency
from bench.training.rows import DeviceRows

N_ITEMS, WIDTH = 30, 4


class Slow:
    """A student whose answers take as long as the clock says."""

    n_items = N_ITEMS

    def __init__(self, milliseconds: list[float]) -> None:
        self.left, self.now, self.asked = list(milliseconds), 0.0, []

    def encode(self, history, length, user):
        self.asked.append(len(history))
        self.now += self.left.pop(0) / 1000
        return torch.zeros(len(history), WIDTH)

    def logits(self, hidden):
        return torch.zeros(len(hidden), N_ITEMS + 1)


def test_percentiles_of_single_requests_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    warm = [float(n) for n in range(1, 101)]
    student = Slow([500.0] * 10 + warm)
    monkeypatch.setattr(latency.time, "perf_counter", lambda: student.now)
    ones = np.ones(3, dtype=np.int32)
    table = Examples(np.ones((3, 5), dtype=np.int32), ones, ones, ones, ones)
    rows = DeviceRows.of(table, torch.device("cpu"))
    told = latency.request_latency(student, rows)
    assert student.asked == [1] * 110
    assert told == pytest.approx(
        {"ms_p50": np.percentile(warm, 50), "ms_p95": np.percentile(warm, 95)}
    )
