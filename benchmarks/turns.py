"""Timing pieces of work that take turns, so that whatever else a machine does hits all alike."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence

import torch


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """What `work` takes: CPU seconds of all threads of this process, or a GPU's own seconds."""
    if device.type == "cuda":
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        with torch.cuda.device(device):
            begin.record()
            work()
            end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000
    started = time.process_time()
    work()
    return time.process_time() - started


def take_turns(cases: Sequence[Callable[[], float]], repetitions: int) -> list[list[float]]:
    """What each case returns, [cases][repetitions]; the order is another one in every turn."""
    order, taken = list(range(len(cases))), [[0.0] * repetitions for _ in cases]
    shuffle = random.Random(0).shuffle  # noqa: S311 - no secret
    for turn in range(repetitions):
        shuffle(order)
        for index in order:
            taken[index][turn] = cases[index]()
    return taken


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """Median over the turns of one case's seconds as a multiple of another's."""
    return statistics.median(a / b for a, b in zip(of, to, strict=True))
