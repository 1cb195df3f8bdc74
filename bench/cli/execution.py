"""A grid carried out: what `bench run` and `bench tune` do alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.printing import say, tell
from bench.cli.tables import aligned
from bench.errors import ConfigError

if TYPE_CHECKING:
    from bench.config.grid import Grid
    from bench.config.search import Search
    from bench.config.selection import Selection
    from bench.paths import Workspace
    from bench.plan import Trial, TrialSpec
    from bench.records.record import Record
    from bench.records.store import ResultStore

FAILED = 1
RUN_OPTIONS = ("device", "threads", "retry_failed", "executor", "isolate")


def how_to_run(args: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options of `options.execution` that `run_grid` takes.

    Raises:
        ConfigError: options that exclude each other.
    """
    from bench.execution.devices import LOCAL
    from bench.layers import parse_override

    here = args["executor"] == LOCAL
    if args["jobs"] and (args["workers"] or not here):
        raise ConfigError(
            "--jobs counts processes of this machine: give --workers, the number that "
            f"--executor {args['executor']} starts"
        )
    if args["gpus"] and not here:
        raise ConfigError(
            f"--gpus chooses among those of this machine: --executor {args['executor']} has "
            "options of its own (bench list executors)"
        )
    options = dict(parse_override(text, "--executor-set") for text in args["executor_set"])
    return {
        **{name: args[name] for name in RUN_OPTIONS},
        "jobs": args["workers"] or args["jobs"],
        "trackers": args["trackers"],
        "executor_set": options | ({"gpus": args["gpus"]} if args["gpus"] else {}),
    }


def grid_of(
    args: Mapping[str, Any],
    selection: Selection,
    workspace: Workspace,
    *,
    search: Search | None = None,
) -> Grid:
    """The grid of a selection, or the share of it that was asked for.

    Raises:
        ConfigError: a wrong name, setting or share.
    """
    from bench.config.grid import resolve
    from bench.execution.share import Share

    share = Share.parse(args["share"]) if args["share"] else None
    grid = resolve(selection, workspace, search=search)
    return grid if share is None else share.of_grid(grid)


def store_of(args: Mapping[str, Any], workspace: Workspace, part: str = "") -> ResultStore:
    """Where records go: the folder of `--results`, or the part of it that is called `part`."""
    from bench.records.store import ResultStore

    folder: Path = args["results"] or workspace.results
    return ResultStore(folder / part)


def finish(records: list[Record], store: ResultStore, started: str) -> None:
    """Say which trials failed, each in a line on stderr.

    Args:
        records: of the trials of a run.
        store: where they are.
        started: when the run began, as records tell time.

    Raises:
        Exit: code 1 if one failed.
    """
    failures = [record for record in records if not record.is_done]
    for record in failures:
        last = (record.error or "").strip().splitlines()[-1]
        label = record.trial.label if record.trial else record.key
        tell(f"{label}: {record.status}: {last} ({store.folder / record.key})")
    older = sum(record.created < started for record in failures)
    if failures:
        tell(f"{len(failures)} of {len(records)} trials failed")
        if older:
            tell(
                f"{older} of them failed in an earlier run and did not run again: "
                "--retry-failed runs them"
            )
        raise click.exceptions.Exit(FAILED)


def show_trials(grid: Grid, store: ResultStore, workspace: Workspace, device: str) -> None:
    """Print the table of a dry run; what a run would reject is rejected."""
    from bench.execution.inputs import identify
    from bench.execution.run import runnable

    grid = runnable(grid, store, workspace, device=device)
    header = ["key", "state", "dataset", "protocol", "student", "objective", "method", "teacher"]
    lines = [[*header, "seed", "overrides"]]
    for spec, trial in zip(grid.trials, identify(grid, workspace), strict=True):
        lines.append([*_key_and_state(trial, store), *_coordinates(spec)])
    for dataset, protocol, teacher in grid.references:
        shown = ["-", "reference", dataset, protocol, "-", "-", "-", teacher, "-", "-"]
        lines.append(shown)
    say(aligned(lines))


def _key_and_state(trial: Trial | None, store: ResultStore) -> tuple[str, str]:
    if trial is None:
        return "-", "missing"
    record = store.get(trial.key)
    if record is None:
        return trial.key[:12], "missing"
    return trial.key[:12], "done" if record.is_done else f"failed ({record.status})"


def _coordinates(spec: TrialSpec) -> list[str]:
    return [
        spec.dataset,
        spec.protocol,
        spec.student,
        spec.training.objective,
        spec.method_name,
        spec.teacher_label or "-",
        str(spec.seed),
        " ".join(f"{key}={value}" for key, value in spec.overrides.items()) or "-",
    ]
