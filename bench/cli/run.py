"""`bench run`: a grid in, its leaderboard out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from bench.config.grid import Grid
    from bench.execution.environment import Jobs
    from bench.paths import Workspace
    from bench.plan import Trial
    from bench.results.record import Record
    from bench.results.store import ResultStore

FAILED = 1


def _jobs(context: click.Context, option: click.Parameter, value: str) -> Jobs:
    if value == "auto":
        return "auto"
    if not value.isdecimal() or int(value) == 0:
        raise click.BadParameter(f"'{value}' is neither a number from 1 nor auto")
    return int(value)


@click.command()
@click.option("--method", "-m", "methods", multiple=True, help="NAME, NAME:VARIANT or all.")
@click.option("--dataset", "-d", "datasets", multiple=True, help="NAME or all.")
@click.option("--student", "-s", "students", multiple=True, help="NAME or all.  [sasrec]")
@click.option(
    "--teacher", "-t", "teachers", multiple=True, help="NAME or all.  [the method's: mostly text]"
)
@click.option(
    "--control",
    "controls",
    multiple=True,
    help="Distil a control of the teacher as well: shuffled, shuffled-rows, shuffled-items, "
    "popularity, oracle.",
)
@click.option("--seeds", multiple=True, help="Such as 0-4 or 0,2,5.  [0]")
@click.option("--protocol", help="temporal or leave-one-out.  [the dataset's own]")
@click.option("--suite", help="A grid from configs/suites/; other options replace its axes.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="training.*, student.*, method.*, protocol.* or teacher.*",
)
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file with methods of your own.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option(
    "--jobs",
    "-j",
    default="1",
    callback=_jobs,
    help="Trials at once, each in a process of its own; auto: cores / threads.  [1]",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads of each trial.  [cores / jobs; 1 with --jobs auto]",
)
@click.option("--results", type=click.Path(path_type=Path), help="Folder of the records.")
@click.option("--retry-failed", is_flag=True, help="Run trials again whose record is a failure.")
@click.option("--dry-run", is_flag=True, help="Show the trials and their state; run nothing.")
def command(
    methods: tuple[str, ...],
    datasets: tuple[str, ...],
    students: tuple[str, ...],
    teachers: tuple[str, ...],
    controls: tuple[str, ...],
    seeds: tuple[str, ...],
    protocol: str | None,
    suite: str | None,
    overrides: tuple[str, ...],
    plugins: tuple[Path, ...],
    device: str,
    jobs: Jobs,
    threads: int | None,
    results: Path | None,
    retry_failed: bool,
    dry_run: bool,
) -> None:
    """Train students under distillation methods and print their leaderboard.

    Options that take a NAME may be repeated and make a grid. Only trials without a record run;
    data and teachers that are missing are made first.
    """
    from bench.config.grid import resolve
    from bench.config.selection import Selection, read_suite
    from bench.execution.grid import run_grid
    from bench.paths import Workspace
    from bench.registry import METHODS
    from bench.results.store import ResultStore

    for plugin in plugins:
        METHODS.add_plugin(plugin)
    workspace = Workspace.current()
    selection = Selection(
        methods=list(methods),
        datasets=list(datasets),
        students=list(students),
        teachers=list(teachers),
        controls=list(controls),
        seeds=",".join(seeds),
        protocol=protocol,
        overrides=list(overrides),
    )
    if suite is not None:
        selection = selection.over(read_suite(suite, workspace))
    grid = resolve(selection, workspace)
    store = ResultStore(results or workspace.results)
    if dry_run:
        _show(grid, store, workspace)
        return
    records = run_grid(
        grid,
        store,
        workspace,
        device=device,
        threads=threads,
        jobs=jobs,
        retry_failed=retry_failed,
        progress=lambda line: click.echo(line, err=True),
    )
    _print_leaderboard(records, store)
    failures = [record for record in records if not record.is_done]
    for record in failures:
        last = (record.error or "").strip().splitlines()[-1]
        label = record.trial.label if record.trial else record.key
        click.echo(f"{label}: {record.status}: {last} ({store.folder / record.key})", err=True)
    if failures:
        click.echo(f"{len(failures)} of {len(records)} trials failed", err=True)
        raise click.exceptions.Exit(FAILED)


def _show(grid: Grid, store: ResultStore, workspace: Workspace) -> None:
    """The table of a dry run; refuses the settings that a run would refuse."""
    from bench.cli.tables import aligned
    from bench.execution.inputs import identify
    from bench.execution.preflight import check_settings

    trials = identify(grid, workspace)
    check_settings(t for t in trials if not t.is_identified or store.get(t.key) is None)

    header = ["key", "state", "dataset", "protocol", "student", "objective", "method", "teacher"]
    rows = [[*header, "seed", "overrides"]]
    for trial in trials:
        rows.append([*_key_and_state(trial, store), *_coordinates(trial)])
    click.echo(aligned(rows))


def _key_and_state(trial: Trial, store: ResultStore) -> tuple[str, str]:
    if not trial.is_identified:
        return "-", "missing"
    record = store.get(trial.key)
    if record is None:
        return trial.key[:12], "missing"
    return trial.key[:12], "done" if record.is_done else f"failed ({record.status})"


def _coordinates(trial: Trial) -> list[str]:
    teacher = trial.teacher or "-"
    return [
        trial.dataset,
        trial.protocol,
        trial.student,
        trial.training.objective,
        trial.method_name,
        f"{teacher} ({trial.control})" if trial.control else teacher,
        str(trial.seed),
        " ".join(f"{key}={value}" for key, value in trial.overrides.items()) or "-",
    ]


def _print_leaderboard(records: list[Record], store: ResultStore) -> None:
    from bench.reporting.render import render

    if records:
        click.echo(render(store, keys=[record.key for record in records]))
