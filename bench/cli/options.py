"""Options that several commands share: what to run, where to run it, and how to show it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bench.execution.devices import Jobs

Command = Callable[..., None]


def _jobs(context: click.Context, option: click.Parameter, value: str) -> Jobs:
    if value == "auto":
        return "auto"
    if not value.isdecimal() or int(value) == 0:
        raise click.BadParameter(f"'{value}' is neither a number from 1 nor auto")
    return int(value)


protocol = click.option(
    "--protocol",
    metavar="NAME",
    help="temporal, timepoint, leave-one-out or given.  [the dataset's own]",
)

device = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ..."
)


def _folder_of_records(*, exists: bool) -> Callable[[Command], Command]:
    kind = click.Path(path_type=Path, exists=exists)
    return click.option("--results", type=kind, help="Folder, or archive, of the records.")


results = _folder_of_records(exists=False)
"""Where records go."""

records = _folder_of_records(exists=True)
"""Where records are looked for."""

form = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)

_AXES = (
    click.option("--method", "-m", "methods", multiple=True, help="NAME, NAME:VARIANT or all."),
    click.option("--dataset", "-d", "datasets", multiple=True, help="NAME or all (real ones)."),
    click.option("--student", "-s", "students", multiple=True, help="NAME or all.  [sasrec]"),
    click.option(
        "--teacher",
        "-t",
        "teachers",
        multiple=True,
        help="NAME or all.  [the method's: mostly text]",
    ),
    click.option(
        "--control",
        "controls",
        multiple=True,
        help="Distil a control of the teacher as well: shuffled, shuffled-rows, shuffled-items, "
        "popularity, oracle.",
    ),
    click.option("--seeds", multiple=True, help="Such as 0-4 or 0,2,5.  [0]"),
    protocol,
    click.option("--suite", help="A grid from configs/suites/; other options replace its axes."),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="training.*, student.*, method.*, protocol.* or teacher.*",
    ),
)

_PROTOCOL_PARTS = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Such as protocol.history=20 or protocol.filters.user_core=5.",
)

_EXECUTION = (
    device,
    click.option(
        "--jobs",
        "-j",
        default="1",
        callback=_jobs,
        help="Trials at once, each in a process of its own; auto: cores / threads.  [1]",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="CPU threads of each trial.  [cores / jobs; 1 with --jobs auto]",
    ),
    results,
    click.option(
        "--retry-failed", is_flag=True, help="Run trials again whose record is a failure."
    ),
    click.option("--dry-run", is_flag=True, help="Show the trials and their state; run nothing."),
)


def selection(command: Command) -> Command:
    """Give a command the options of a grid, read into one `selection`; plug-ins are registered."""

    @functools.wraps(command)
    def with_selection(
        *,
        methods: tuple[str, ...],
        datasets: tuple[str, ...],
        students: tuple[str, ...],
        teachers: tuple[str, ...],
        controls: tuple[str, ...],
        seeds: tuple[str, ...],
        protocol: str | None,
        suite: str | None,
        overrides: tuple[str, ...],
        **others: Any,
    ) -> None:
        from bench.config.selection import Selection, read_suite
        from bench.paths import Workspace

        chosen = Selection(
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
            chosen = chosen.over(read_suite(suite, Workspace.current()))
        command(selection=chosen, **others)

    return _with(_AXES, plugins(with_selection))


def plugins(command: Command) -> Command:
    """Give a command `--plugin`: files whose methods are registered before it begins."""

    @functools.wraps(command)
    def with_plugins(*, plugins: tuple[Path, ...], **others: Any) -> None:
        from bench.registry import METHODS

        for plugin in plugins:
            METHODS.add_plugin(plugin)
        command(**others)

    option = click.option(
        "--plugin",
        "plugins",
        multiple=True,
        type=click.Path(path_type=Path),
        help="A file with methods of your own.",
    )
    return option(with_plugins)


def rows(command: Command) -> Command:
    """Give a command the options of a dataset's rows, read into one `asked`.

    The command has an option or argument `dataset` of its own, which goes into `asked` as well.
    """

    @functools.wraps(command)
    def with_rows(
        *, dataset: str | None, protocol: str | None, overrides: tuple[str, ...], **others: Any
    ) -> None:
        from bench.cli.rows import Asked

        command(asked=Asked(dataset, protocol, overrides), **others)

    return _with((protocol, _PROTOCOL_PARTS), with_rows)


def execution(command: Command) -> Command:
    """Give a command the options of where and how trials run, read into one `execution`."""

    @functools.wraps(command)
    def with_execution(
        *,
        device: str,
        jobs: Jobs,
        threads: int | None,
        results: Path | None,
        retry_failed: bool,
        dry_run: bool,
        **others: Any,
    ) -> None:
        from bench.cli.execution import Execution

        how = Execution(device, jobs, threads, results, retry_failed, dry_run)
        command(execution=how, **others)

    return _with(_EXECUTION, with_execution)


def _with(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
