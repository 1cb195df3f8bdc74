"""Is `none` as strong as it should be? Whole trainings beside RecBole's own and what is published.

    bench data import my-beauty path/to/beauty --protocol leave-one-out
    python benchmarks/acceptance.py my-beauty --student sasrec --student gru4rec

Both sides train the student of `configs/students/` on the same rows, histories, loss, batch and
step size until NDCG@10 on validation has not risen for ten epochs, rank all items, and read the
test rows once. RecBole's side is its own Trainer and evaluation; the anomaly detection of autograd
that it turns on is turned off. The suite's records stay in the workspace.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # A script's own folder comes first on its path, and there `methods` is another file.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click

import bench
from bench.paths import Workspace
from bench.reporting.markdown import pipe
from bench.students.config import StudentFile, read_student
from benchmarks.dataset import Dataset, prepared
from benchmarks.served import Served

METRICS = ("hr@10", "ndcg@10")
PATIENCE = 10
"""Epochs without a better validation metric."""
PUBLISHED = {
    "sasrec": (".0842", ".0421"),
    "gru4rec": (".0623", ".0342"),
    "bert4rec": (".0404", ".0211"),
}
"""HR@10 and NDCG@10 of RecBole's defaults on Amazon Beauty (5-core, leave-one-out, L = 50)."""


def of_suite(
    dataset: str, student: str, seed: int, settings: dict[str, Any], threads: int
) -> list[float]:
    """Test metrics of `none`."""
    settings |= {
        "protocol.seen": "rank",
        "training.select": "ndcg@10",
        "training.patience": PATIENCE,
    }
    runs = bench.run("none", dataset, student, seeds=[seed], settings=settings, threads=threads)
    (trial,) = runs[runs["kind"] == "trial"].to_dict("records")
    return [trial[name] for name in METRICS]


def of_recbole(
    dataset: Dataset, student: StudentFile, history: int, seed: int, threads: int
) -> list[float]:
    """Test metrics of RecBole's Trainer."""
    with tempfile.TemporaryDirectory() as folder:
        settings = dataset.for_recbole(Path(folder) / "data") | student.parameters
        settings |= {
            "MAX_ITEM_LIST_LENGTH": history,
            "learning_rate": student.training["learning_rate"],
            "stopping_step": PATIENCE,
        }
        with Served(
            "benchmarks.recbole_trainer:Whole",
            Path(folder),
            threads,
            settings=settings,
            batch=student.training["batch_size"],
            loss="CE",
            device="cpu",
            seed=seed,
            model=student.model,
        ) as trainer:
            test = trainer.call("tested")
    return [test[name.replace("hr", "hit")] for name in METRICS]


@click.command()
@click.argument("dataset")
@click.option("--student", "students", multiple=True, default=["sasrec"], show_default=True)
@click.option("--history", default=50, show_default=True, help="Items of a history.")
@click.option("--positions", default="last", show_default=True, help="training.positions.")
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=1, show_default=True, help="Threads of torch.")
def main(
    dataset: str, students: tuple[str, ...], history: int, positions: str, seed: int, threads: int
) -> None:
    """Train students on DATASET as the suite and as RecBole do, and print both."""
    data = prepared(dataset)
    lines = []
    for name in students:
        student = read_student(name, Workspace.current())
        settings = {"protocol.history": history, "training.positions": positions}
        ours = of_suite(dataset, name, seed, settings, threads)
        theirs = of_recbole(data, student, history, seed, threads)
        published = PUBLISHED.get(name, ("-", "-"))
        for metric, own, other, known in zip(METRICS, ours, theirs, published, strict=True):
            difference = f"{own / other - 1:+.1%}" if other else "-"
            lines.append([name, metric, f"{own:.4f}", f"{other:.4f}", difference, known])
    head = ["Student", "Metric", "Suite", "RecBole", "Difference", "Published of Beauty"]
    click.echo(pipe(head, lines, text_columns=2))


if __name__ == "__main__":
    main()
