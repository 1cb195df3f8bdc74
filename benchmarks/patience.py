"""What a least gain (`training.min_delta`) would have saved and lost, on trainings that are done.

    python benchmarks/patience.py [results/reference]

A least gain changes nothing of a training but its end, so the curve of a training without one
tells both: how many of its epochs are left, and how much worse the best of these is on the
validation metric that chose. Trainings of one stage count, without a curriculum that holds early
stopping back.
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    # A script's own folder comes first on its path, and there `methods` is this folder's.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
from torch import nn

from bench.paths import SHIPPED
from bench.records.store import CURVE, ResultStore
from bench.reporting.markdown import pipe
from bench.training.loop import Best

LEAST_GAINS = (0.0001, 0.0002, 0.0005, 0.001, 0.002)


@dataclass(frozen=True)
class Course:
    """Validation metric of every epoch, and what ended the training."""

    dataset: str
    values: Sequence[float]
    patience: int
    min_epochs: int

    def end(self, least: float) -> int:
        """The epoch at which the training would have ended, as far as its curve goes."""
        best = Best(nn.Module(), least)
        for epoch, value in enumerate(self.values, start=1):
            best.offer(epoch, value, True)
            if epoch >= self.min_epochs and best.waited(epoch) >= self.patience:
                return epoch
        return len(self.values)

    def loss(self, least: float) -> float:
        """How far the best epoch is below that of the whole curve, as a share of it."""
        return 1 - max(self.values[: self.end(least)]) / max(self.values)


def courses(store: ResultStore) -> Iterator[Course]:
    """The trainings of a store that a least gain can be tried on."""
    for record in store.records():
        if record.trial is None or not record.is_done:
            continue
        training, place = record.trial.training, store.place(record.key, CURVE)
        if training.min_delta or place is None:
            continue
        lines = list(csv.DictReader(place.read_text(encoding="utf-8").splitlines()))
        values = [float(line[training.select]) for line in lines]
        name = record.trial.dataset
        course = Course(name, values, training.patience, training.min_epochs)
        if {float(line["stage"]) for line in lines} == {1} and course.end(0.0) == len(values):
            yield course


@click.command()
@click.argument(
    "results", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False
)
def main(results: Path | None) -> None:
    """Print what least gains would have saved and lost on the trainings in RESULTS."""
    found: dict[str, list[Course]] = defaultdict(list)
    for course in courses(ResultStore(results or SHIPPED / "results" / "reference")):
        found[course.dataset].append(course)
    lines = []
    for dataset, those in sorted(found.items()):
        for least in LEAST_GAINS:
            epochs = sum(course.end(least) for course in those)
            losses = [course.loss(least) for course in those]
            cells = [dataset, f"{len(those)}", f"{least:g}"]
            cells.append(f"{epochs / sum(len(course.values) for course in those):.0%}")
            lines.append([*cells, f"{statistics.mean(losses):.2%}", f"{max(losses):.1%}"])
    head = ["Dataset", "Trainings", "Least gain", "Epochs", "Lost on average", "at most"]
    click.echo(pipe(head, lines, text_columns=1))


if __name__ == "__main__":
    main()
