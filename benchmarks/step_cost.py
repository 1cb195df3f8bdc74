"""What a training step of every method costs beside one of `none`: time, memory, parameters.

    python benchmarks/step_cost.py --items 17000 --batch 256 --output table

SASRec (d = 64, one block, histories of 10 items) takes the training loop's own steps on synthetic
rows with a random teacher. All methods take turns, step by step, in one process, and a method's
time is the median of its ratios to the `none` of the same turn: whatever else the machine does then
hits both alike. Time is that of the CPU on one thread. The peak of memory is measured in a process
of each method's own.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # A script's own folder comes first on its path, and there `methods` is this file.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import torch

from bench.registry import METHODS
from bench.reporting.markdown import pipe
from bench.students.config import StudentConfig
from bench.training.config import ObjectiveName, TrainingConfig
from benchmarks import memory as memory_of
from benchmarks.case import Case
from benchmarks.turns import ratio, take_turns
from benchmarks.world import Sizes, World, make_world

STUDENT = StudentConfig(
    model="SASRec",
    parameters={"hidden_size": 64, "inner_size": 256, "n_layers": 1, "n_heads": 2},
)
WARM_UP = 2
"""Steps that are not measured: buffers are made and memory is touched for the first time."""

PHASES: dict[str, dict[str, dict[str, Any]]] = {
    "hetcomp": {"relaxed phase": {"transfer": "relaxed"}, "strict phase": {"transfer": "strict"}}
}
"""Methods whose steps change while they train, with the settings that hold each phase still."""


@dataclass(frozen=True)
class Cost:
    """What a method costs.

    Attributes:
        part: the stage or phase whose steps cost most, where there are several.
        step: CPU time of a step, as a multiple of that of `none`.
        between: CPU time between two epochs, as a share of an epoch of `none`.
        memory: peak above that of `none`, bytes; None if it was not measured.
        training: parameters in training beyond those of `none`.
        inference: parameters of the finished student beyond those of `none`.
    """

    method: str
    part: str
    step: float
    between: float
    memory: int | None
    training: int
    inference: int


def cases(method: str, world: World, config: TrainingConfig) -> Iterator[tuple[str, Case]]:
    """The parts of a method's training, by name; a single one has the name ""."""
    for phase, settings in PHASES.get(method, {"": {}}).items():
        first = Case(STUDENT, method, settings, 0, world, config)
        stages = first.stages
        yield phase or (f"stage 1 of {stages}" if stages > 1 else ""), first
        del first  # its memory is not that of the next
        for stage in range(1, stages):
            name = f"stage {stage + 1} of {stages}"
            yield name, Case(STUDENT, method, settings, stage, world, config)


def measure(
    methods: list[str], sizes: Sizes, config: TrainingConfig, repetitions: int, *, memory: bool
) -> tuple[list[Cost], float]:
    """Costs of `none` and `methods`, cheapest first, and the CPU seconds of an epoch of `none`."""
    names = ["none", *(name for name in methods if name != "none")]
    # First, while this process is small.
    peaks = {name: _peak(name, sizes, config) for name in names} if memory else {}
    world = make_world(sizes)
    parts = [part for name in names for part in cases(name, world, config)]
    for _, case in parts:
        for _ in range(WARM_UP):
            case.run()
    seconds = take_turns([case.run for _, case in parts], repetitions)
    none = seconds[0]
    epoch = statistics.median(none) * len(world.rows) / config.batch_size
    measured = [
        Cost(
            method=case.name,
            part=part,
            step=ratio(own, none),
            between=case.between / epoch,
            memory=max(0, peaks[case.name] - peaks["none"]) if memory else None,
            **case.parameters(),
        )
        for (part, case), own in zip(parts, seconds, strict=True)
    ]
    first, *others = (_dearest([cost for cost in measured if cost.method == n]) for n in names)
    return [_beyond(first, cost) for cost in [first, *sorted(others, key=lambda c: c.step)]], epoch


def _dearest(parts: list[Cost]) -> Cost:
    """The part of a method whose steps cost most, with what the last part leaves."""
    dearest = max(parts, key=lambda cost: cost.step)
    training = max(cost.training for cost in parts)
    return replace(dearest, training=training, inference=parts[-1].inference)


def _beyond(none: Cost, cost: Cost) -> Cost:
    training, inference = cost.training - none.training, cost.inference - none.inference
    return replace(cost, training=training, inference=inference)


def _peak(method: str, sizes: Sizes, config: TrainingConfig) -> int:
    """Peak of resident memory, in bytes, of a process that trains under one method."""
    request = json.dumps({"sizes": asdict(sizes), "config": config.model_dump(mode="json")})
    command = [sys.executable, __file__, "--peak-of", method]
    done = subprocess.run(  # noqa: S603 - this file
        command, input=request, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise click.ClickException(f"{method} failed:\n{done.stderr.strip()}")
    return int(done.stdout.split()[-1])


def _print_peak(method: str) -> None:
    """What the process of `_peak` does."""
    torch.set_num_threads(1)
    request = json.loads(sys.stdin.read())
    world = make_world(Sizes(**request["sizes"]))
    for _, case in cases(method, world, TrainingConfig(**request["config"])):
        for _ in range(WARM_UP + 1):
            case.run()
        del case
        gc.collect()
    click.echo(memory_of.high_water_mark())


def table(costs: list[Cost]) -> str:
    """Costs in Markdown."""
    head = ["Method", "Step", "Between epochs", "Memory", "Parameters", "Finished student"]
    lines = [
        [
            f"{cost.method} ({cost.part})" if cost.part else cost.method,
            f"{cost.step:.2f}x",
            f"+{cost.between:.2f}x" if cost.between >= 0.005 else "0",
            "-" if cost.memory is None else _more(cost.memory, 2**20, " MiB"),
            _more(cost.training, 1000, " k"),
            _more(cost.inference, 1000, " k"),
        ]
        for cost in costs
    ]
    return pipe(head, lines)


def _more(count: int, unit: int, name: str) -> str:
    value = count / unit
    return (
        "0" if count == 0 else f"{value:+,.1f}{name}" if abs(value) < 10 else f"{value:+,.0f}{name}"
    )


@click.command()
@click.option("--items", default=17000, show_default=True, help="Size of the catalogue.")
@click.option("--rows", default=20000, show_default=True, help="Training rows.")
@click.option("--batch", default=256, show_default=True, help="Rows in a step.")
@click.option("--objective", default="ce", show_default=True, help="Base loss of all.")
@click.option("--method", "methods", multiple=True, help="Measure these only (repeatable).")
@click.option("--repetitions", default=20, show_default=True, help="Measured steps of each.")
@click.option("--threads", default=1, show_default=True, help="Threads of torch.")
@click.option("--memory/--no-memory", default=True, help="Measure the peak of memory.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--peak-of", hidden=True)
def main(
    items: int,
    rows: int,
    batch: int,
    objective: ObjectiveName,
    methods: tuple[str, ...],
    repetitions: int,
    threads: int,
    memory: bool,
    output: str,
    peak_of: str | None,
) -> None:
    """Measure what a training step of every method costs beside one of `none`."""
    if peak_of is not None:
        return _print_peak(peak_of)
    torch.set_num_threads(threads)
    config = TrainingConfig(objective=objective, batch_size=batch)
    sizes = Sizes(items=items, rows=rows)
    memory = memory and memory_of.is_known()
    chosen = list(methods) or [entry.name for entry in METHODS]
    costs, epoch = measure(chosen, sizes, config, repetitions, memory=memory)
    setting = {**asdict(sizes), "batch": batch, "objective": objective, "threads": threads}
    milliseconds = 1000 * epoch * batch / rows
    if output == "json":
        result = {"setting": setting, "none_ms": milliseconds, "methods": [*map(asdict, costs)]}
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo(table(costs))
        said = ", ".join(f"{name} {value}" for name, value in setting.items())
        click.echo(f"\nA step of none: {milliseconds:.0f} ms. Setting: {said}.")


if __name__ == "__main__":
    main()
