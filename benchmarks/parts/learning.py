"""Epochs of training and what they teach, beside RecBole's and RecTools'."""

from __future__ import annotations

import contextlib
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.parts.comparison import Line, Run
from benchmarks.parts.training import BF16, CASES
from benchmarks.served import Served
from benchmarks.turns import ratio

WINDOWS = "ce-all-positions"
"""The case that trains as RecTools does: all positions of a sequence at once."""
_CASES = ("ce", BF16, WINDOWS)


@dataclass
class _Learner:
    """One of those compared: CPU seconds and NDCG@10 of its epochs so far."""

    name: str
    served: Served
    seconds: list[float] = field(default_factory=list)
    quality: list[float] = field(default_factory=list)

    def epoch(self) -> None:
        self.seconds.append(self.served.call("epoch"))
        self.quality.append(self.served.call("quality"))


def lines(run: Run) -> Iterator[Line]:
    """Curves under ce at every batch and seed; whoever is compared takes turns epoch by epoch.

    RecTools is held against `WINDOWS` alone, and all else against RecBole without anomaly
    detection.
    """
    names = [name for name in _CASES if name in run.objectives]
    for batch in run.batches if names else ():
        for seed in range(run.seeds):
            with contextlib.ExitStack() as stack:
                yield from _curves(run, names, batch, seed, stack)


def _curves(
    run: Run, names: Sequence[str], batch: int, seed: int, stack: contextlib.ExitStack
) -> Iterator[Line]:
    def learner(name: str, served: Served) -> _Learner:
        return _Learner(name, stack.enter_context(served))

    def suite(name: str) -> _Learner:
        training: dict[str, Any] = {**CASES[name], "batch_size": batch}
        served = run.suite("suite:Learning", training=training, seed=seed)
        return learner(f"{name}, batch {batch}, seed {seed}", served)

    own = {name: suite(name) for name in names}
    recbole = run.of_recbole("Learning", batch=batch, loss="CE", seed=seed)
    peers = {"RecBole, no anomaly detection": learner("RecBole, no anomaly detection", recbole)}
    if run.rectools and WINDOWS in own:
        peers["RecTools"] = learner("RecTools", run.of_rectools("Learning", batch=batch, seed=seed))
    everybody = [*own.values(), *peers.values()]
    shuffle = random.Random(seed).shuffle  # noqa: S311 - no secret
    for _ in range(run.epochs):
        shuffle(everybody)
        for each in everybody:
            each.epoch()
    for name, case in own.items():
        for peer, other in peers.items():
            if peer != "RecTools" or name == WINDOWS:
                yield _line(case, other)


def _line(own: _Learner, other: _Learner) -> Line:
    suite = statistics.median(own.seconds)
    return Line(
        part="learning",
        case=own.name,
        unit="s",
        suite=suite,
        reference=other.name,
        other=statistics.median(other.seconds),
        factor=ratio(other.seconds, own.seconds),
        epoch=suite,
        quality=tuple(own.quality),
        other_quality=tuple(other.quality),
    )
