"""How fast the suite is beside RecBole, a plain DLLM2Rec and the matrix products alone.

    python benchmarks/speed.py --part training --objective ce --batch 2048 --output table

Six parts: training steps, learning curves, full-ranking evaluation, loading and starting, workers,
and memory. The student is SASRec under RecBole's own parameters, on histories of 10 items. Whatever
is compared lives in a process of its own and takes turns with the others, step by step, in random
order; a factor is the median of the ratios of the same turn. Time is that of the CPU on one thread,
or with `--device cuda` the GPU's own.

RecBole has neither bce nor the robust loss: these are held against its BPR, which samples as they
do. dllm2rec is held against `benchmarks/plain_dllm2rec.py`, which computes the same losses.
Learning curves say whether speed is bought with quality: NDCG@10 on the validation rows after each
epoch. With `--rectools PYTHON`, an interpreter that has RecTools, its SASRec takes part in them, on
the rows of `training.positions=all`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

if __name__ == "__main__":
    # A script's own folder comes first on its path, and there `methods` is another file.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click

from bench.execution.devices import bfloat16_instructions
from bench.reporting.markdown import pipe
from benchmarks.dataset import START, Dataset, imported, prepared, synthetic
from benchmarks.parts import evaluation, learning, memory, start, training, workers
from benchmarks.parts.comparison import Line, Run

PARTS: dict[str, Callable[[Run], Iterator[Line]]] = {
    "training": training.lines,
    "learning": learning.lines,
    "evaluation": evaluation.lines,
    "start": start.lines,
    "workers": workers.lines,
    "memory": memory.lines,
}
CASES = [*training.CASES, training.DLLM2REC]
CUDA_CASES = [*training.CUDA_CASES]


def table(lines: Sequence[Line]) -> str:
    """Lines in Markdown."""
    head = ["Part", "Case", "Held against", "Unit", "Suite", "Other", "Factor", "Epoch, s"]
    head += ["NDCG@10 of epochs", "Other's"]
    cells = [
        [
            line.part,
            line.case,
            line.reference or "-",
            line.unit,
            _number(line.suite),
            _number(line.other),
            "-" if line.factor is None else f"{line.factor:.2f}x",
            "-" if line.epoch is None else f"{line.epoch:.1f}",
            _curve(line.quality),
            _curve(line.other_quality),
        ]
        for line in lines
    ]
    return pipe(head, cells, text_columns=4)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _curve(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4f}".lstrip("0") for value in values) or "-"


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice([*PARTS]), help="[all]")
@click.option(
    "--objective", "objectives", multiple=True, type=click.Choice(CASES + CUDA_CASES), help="[all]"
)
@click.option("--batch", "batches", multiple=True, type=int, default=[256, 2048], show_default=True)
@click.option("--dataset", help=f"In place of synthetic rows, and of {START} for the start.")
@click.option(
    "--data",
    "tables",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of interactions in place of synthetic rows, under leave-one-out.",
)
@click.option("--items", default=17408, show_default=True, help="Size of the catalogue.")
@click.option("--rows", default=150_000, show_default=True, help="Training rows.")
@click.option("--large", default=1_000_000, show_default=True, help="Items of the large catalogue.")
@click.option("--repetitions", default=7, show_default=True, help="Turns.")
@click.option("--epochs", default=5, show_default=True, help="Of a learning curve.")
@click.option("--seeds", default=1, show_default=True, help="Learning curves of each.")
@click.option("--rectools", default="", help="A Python that has rectools[torch].")
@click.option("--threads", default=1, show_default=True, help="Threads of torch.")
@click.option("--device", default="cpu", show_default=True, help="Such as cpu or cuda.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def main(
    parts: tuple[str, ...],
    objectives: tuple[str, ...],
    batches: tuple[int, ...],
    dataset: str | None,
    tables: Path | None,
    items: int,
    rows: int,
    large: int,
    repetitions: int,
    epochs: int,
    seeds: int,
    rectools: str,
    threads: int,
    device: str,
    output: str,
) -> None:
    """Measure the suite beside RecBole, a plain DLLM2Rec and the matrix products alone."""
    on_cuda = device.startswith("cuda")
    if not on_cuda and (alone := [name for name in objectives if name in CUDA_CASES]):
        raise click.UsageError(f"--objective {alone[0]}: needs --device cuda, not {device}")
    if dataset and tables:
        raise click.UsageError("--dataset and --data exclude each other")
    cases = [*CASES, *(CUDA_CASES if on_cuda else ())]
    if not on_cuda and bfloat16_instructions() == []:
        if training.BF16 in objectives:
            raise click.UsageError(f"--objective {training.BF16}: this CPU has no bfloat16")
        cases.remove(training.BF16)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        home = folder / "home"
        if tables:
            data = imported(f"{tables.resolve().name}-imported", tables, home)
        else:
            data = prepared(dataset) if dataset else synthetic(items, rows, home)
        loaded = data.load()
        run = Run(
            data=data,
            recbole=data.for_recbole(folder / "recbole"),
            start=data if dataset else Dataset(START, str(home)).prepare(),
            folder=folder,
            objectives=objectives or cases,
            batches=batches,
            items=loaded.n_items,
            rows=len(loaded.train),
            large=large,
            repetitions=repetitions,
            threads=threads,
            device=device,
            epochs=epochs,
            seeds=seeds,
            rectools=rectools,
        )
        lines = [line for part in parts or PARTS for line in PARTS[part](run)]
    chosen = ("items", "rows", "repetitions", "threads", "device")
    setting = {"dataset": data.name, **{name: getattr(run, name) for name in chosen}}
    if output == "json":
        result = {"setting": setting, "lines": [asdict(line) for line in lines]}
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo(table(lines))
        said = ", ".join(f"{name} {value}" for name, value in setting.items())
        click.echo(f"\nSetting: {said}.")


if __name__ == "__main__":
    main()
