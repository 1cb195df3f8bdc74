"""What all parts of `benchmarks/speed.py` share: what is chosen, what takes turns, what is said."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.dataset import Dataset
from benchmarks.served import Served
from benchmarks.turns import ratio, take_turns


@dataclass(frozen=True)
class Run:
    """What is chosen on the command line, and where things are.

    Attributes:
        data: the rows that everything trains on.
        recbole: settings that give RecBole the same rows.
        start: dataset of the start.
        folder: a temporary one.
        objectives: names of `benchmarks.parts.training.CASES`.
        batches: rows of a step.
        items: N of `data`.
        rows: training rows of `data`.
        large: N of the large catalogue.
        repetitions: turns.
        threads: of torch.
        device: a torch device.
        epochs: of a learning curve.
        seeds: learning curves of each.
        rectools: an interpreter that has RecTools; empty without.
    """

    data: Dataset
    recbole: dict[str, Any]
    start: Dataset
    folder: Path
    objectives: Sequence[str]
    batches: Sequence[int]
    items: int
    rows: int
    large: int
    repetitions: int
    threads: int
    device: str
    epochs: int = 5
    seeds: int = 1
    rectools: str = ""

    def serve(self, factory: str, **arguments: Any) -> Served:
        """What `factory` of a module of `benchmarks` makes, in a process of its own."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        return Served(f"benchmarks.{factory}", folder, self.threads, **arguments)

    def suite(self, factory: str, **arguments: Any) -> Served:
        """The same, of a side that reads the suite's own data."""
        return self.serve(factory, data=asdict(self.data), device=self.device, **arguments)

    def of_recbole(self, factory: str, **arguments: Any) -> Served:
        """The same, of RecBole."""
        return self.serve(
            f"recbole_trainer:{factory}", settings=self.recbole, device=self.device, **arguments
        )

    def of_rectools(self, factory: str, **arguments: Any) -> Served:
        """The same, of RecTools."""
        rows = str(self.data.windows(self.folder / "rectools.npz"))
        return self.serve(
            f"rectools_model:{factory}",
            python=self.rectools,
            rows=rows,
            device=self.device,
            **arguments,
        )


@dataclass(frozen=True)
class Line:
    """One comparison.

    Attributes:
        part: training, learning, evaluation, start or memory.
        case: what is measured.
        unit: of `suite` and `other`.
        suite: the suite's figure.
        reference: what it is held against; empty if it stands alone.
        other: the reference's figure.
        factor: the reference's as a multiple of the suite's: of epochs where steps are measured,
            of rows where passes are; median over the turns.
        epoch: seconds of an epoch of the suite's, where steps are measured.
        quality: NDCG@10 on validation after each epoch of the suite's, where epochs are measured.
        other_quality: the reference's.
    """

    part: str
    case: str
    unit: str
    suite: float
    reference: str = ""
    other: float | None = None
    factor: float | None = None
    epoch: float | None = None
    quality: tuple[float, ...] = ()
    other_quality: tuple[float, ...] = ()


@dataclass(frozen=True)
class Timed:
    """A piece of work that takes turns with others.

    Attributes:
        name: for the table.
        run: does it; seconds.
        share: times that it is done for what is compared: steps of an epoch, or one over its rows.
    """

    name: str
    run: Callable[[], float]
    share: float


Taken = dict[str, list[float]]
"""Seconds of every turn, by name."""


def measured(timed: Sequence[Timed], repetitions: int, warm_up: int) -> Taken:
    """Take turns, after `warm_up` times each that are not measured."""
    for each in timed:
        for _ in range(warm_up):
            each.run()
    taken = take_turns([each.run for each in timed], repetitions)
    return {each.name: seconds for each, seconds in zip(timed, taken, strict=True)}


def compared(part: str, own: Timed, others: Sequence[Timed], taken: Taken) -> Iterator[Line]:
    """A line for each of the others."""
    suite = statistics.median(taken[own.name])
    for other in others:
        yield Line(
            part=part,
            case=own.name,
            unit="s",
            suite=suite,
            reference=other.name,
            other=statistics.median(taken[other.name]),
            factor=ratio(taken[other.name], taken[own.name]) * other.share / own.share,
            epoch=suite * own.share if own.share >= 1 else None,
        )
