"""Options that several commands share: what to run, where to run it, and how to show it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.limits import whole_number

if TYPE_CHECKING:
    from bench.config.selection import Selection
    from bench.execution.devices import Jobs

Command = Callable[..., None]


def _jobs(context: click.Context, option: click.Parameter, value: str | None) -> Jobs | None:
    if value is None:
        return None
    if value == "auto":
        return "auto"
    if not (number := whole_number(value, 9999)):
        raise click.BadParameter(f"'{value}' is neither a number from 1 to 9999 nor auto")
    return number


def _isolate(context: click.Context, option: click.Parameter, value: bool) -> bool:
    """Before anything is planned, which would import them."""
    if value:
        from bench.registry import METHODS

        context.with_resource(METHODS.isolated())
    return value


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
        "--ladder",
        metavar="METHOD",
        help="This method, and what tells how much of its gain needs its teacher: label smoothing, "
        "and teachers that know nothing (suite ladder).",
    ),
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

_RETRY_FAILED = click.option(
    "--retry-failed", is_flag=True, help="Run trials again whose record is a failure."
)

_SHARE = click.option(
    "--share",
    metavar="I/N",
    help="Run the I-th of N shares of the grid, where machines share no disk (see bench results "
    "merge).",
)

_TRACKERS = click.option(
    "--tracker",
    "trackers",
    multiple=True,
    metavar="NAME",
    help="Show each finished trial in tensorboard, mlflow or wandb (offline) as well.",
)

_EXECUTION = (
    device,
    click.option(
        "--jobs",
        "-j",
        callback=_jobs,
        help="Trials at once, each in a process of its own; auto: cores / threads.  [1]",
    ),
    click.option(
        "--gpus", metavar="LIST", help="Such as 0,1,2,3: a process for each of these GPUs."
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="CPU threads of each trial.  [cores / jobs; 1 with --jobs auto and elsewhere]",
    ),
    click.option(
        "--executor",
        default="local",
        show_default=True,
        metavar="NAME",
        help="What starts the workers: local, slurm or ray (bench list executors).",
    ),
    click.option("--workers", type=click.IntRange(min=1), help="Workers that it starts.  [1]"),
    click.option(
        "--executor-set",
        "executor_set",
        multiple=True,
        metavar="KEY=VALUE",
        help="Options of the executor, such as partition=gpu.",
    ),
    _SHARE,
    _TRACKERS,
    results,
    _RETRY_FAILED,
    click.option(
        "--isolate",
        is_flag=True,
        callback=_isolate,
        is_eager=True,
        help="Run methods of others (--plugin, installed packages) in a process of their own each.",
    ),
    click.option("--dry-run", is_flag=True, help="Show the trials and their state; run nothing."),
)

_WORKING = (
    device,
    click.option(
        "--threads", type=click.IntRange(min=1), help="CPU threads of each trial.  [cores]"
    ),
    click.option(
        "--until",
        metavar="DURATION",
        help="Such as 55m: start no trial that is not expected to end by then, and keep the state "
        "of the one under way.",
    ),
    _SHARE,
    _TRACKERS,
    results,
    _RETRY_FAILED,
)


def selection(command: Command) -> Command:
    """Give a command the options of a grid; see `selected`."""
    return _with((*_AXES, plugins), command)


def selected(args: Mapping[str, Any]) -> Selection:
    """The selection that the options of `selection` make, its suite included.

    Its plug-ins are registered.
    """
    from bench.config.selection import LADDER, Selection, read_suite
    from bench.paths import Workspace

    register(args["plugins"])
    axes = ("methods", "datasets", "students", "teachers", "references", "controls", "overrides")
    chosen = Selection(
        **{axis: list(args.get(axis, ())) for axis in axes},
        seeds=",".join(args["seeds"]),
        protocol=args["protocol"],
    )
    if args["ladder"] is not None:
        chosen = chosen.model_copy(update={"methods": [args["ladder"], *chosen.methods]})
        chosen = chosen.beside(read_suite(LADDER, Workspace.current()))
    suite = args["suite"]
    return chosen if suite is None else chosen.over(read_suite(suite, Workspace.current()))


references = click.option(
    "--reference",
    "references",
    metavar="TEACHER",
    multiple=True,
    help="Show this teacher's own ranking too, whatever learns from it.",
)

plugins = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file with methods of your own.",
)
"""Files with methods; see `register`."""


def register(plugins: Iterable[Path]) -> None:
    """Register the methods of files.

    Raises:
        ConfigError: one is missing, or registers nothing that can be read.
    """
    from bench.registry import METHODS

    for plugin in plugins:
        METHODS.add_plugin(plugin)


def rows(command: Command) -> Command:
    """Give a command the options of a dataset, read into one `args`.

    The command has an option or argument `dataset` of its own, which goes into `args` as well.
    """

    @functools.wraps(command)
    def with_rows(
        *, dataset: str | None, protocol: str | None, overrides: tuple[str, ...], **others: Any
    ) -> None:
        from bench.cli.dataset import DatasetArgs

        command(args=DatasetArgs(dataset, protocol, overrides), **others)

    return _with((protocol, _PROTOCOL_PARTS), with_rows)


def execution(command: Command) -> Command:
    """Give a command the options of where and how trials run; see `bench.cli.execution`."""
    return _with(_EXECUTION, command)


def working(command: Command) -> Command:
    """Give a command the options of one worker."""
    return _with(_WORKING, command)


def _with(options: tuple[Callable[[Command], Command], ...], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
