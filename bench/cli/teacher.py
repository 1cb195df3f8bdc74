"""`bench teacher`: build, bring, check, describe and hand on teacher knowledge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bench.cli import options
from bench.cli.facts import listed
from bench.cli.printing import say, show
from bench.errors import ConfigError
from bench.paths import Workspace

if TYPE_CHECKING:
    from bench.cli.dataset import DatasetArgs
    from bench.teachers.manifest import TeacherManifest

LATENCY = "latency_ms_per_user"
"""Key of a recipe: milliseconds that the teacher takes to rank for one user."""

_dataset = click.option("--dataset", "-d", help="Name of the dataset.")

_teacher = click.option(
    "--teacher",
    "-t",
    default="text",
    show_default=True,
    help="Name of the teacher; `published` for bare files in the dataset's folder.",
)

_path = click.argument("path", required=False, type=click.Path(path_type=Path))


@click.group()
def command() -> None:
    """Make, bring, check and describe teacher knowledge (tocf)."""


@command.command()
@_dataset
@_teacher
@options.rows
@options.device
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [all cores]")
@click.option("--force", is_flag=True, help="Replace a teacher that is there.")
def build(args: DatasetArgs, teacher: str, device: str, threads: int | None, force: bool) -> None:
    """Build a configured teacher on the training rows of a dataset.

    --set takes the teacher's own options as well, such as teacher.epochs=3.
    """
    from bench.config.overrides import Overrides, teacher_for
    from bench.execution.devices import set_up
    from bench.teachers.build import ensure_teacher
    from bench.teachers.config import read_teacher

    workspace = Workspace.current()
    given = Overrides(args.overrides)
    config = teacher_for(args.name, read_teacher(teacher, workspace), given)
    rows = args.resolve(given)
    device, _ = set_up(device, threads)
    data, folder = rows.data(), rows.teacher_folder(teacher)
    ensure_teacher(teacher, config, data, workspace, folder, rebuild=force, device=device)
    say(folder)


@command.command("import")
@_dataset
@click.option("--name", help="What the teacher is to be called.")
@options.rows
@click.option(
    "--items",
    type=click.Path(path_type=Path),
    help="Order of the items of arrays: a name a line, or a table with a column of names.  "
    "[the catalogue's order]",
)
@click.option(
    "--item-key",
    type=click.Choice(["token", "title", "id"]),
    help="What --items and tables name items by.  [token]",
)
@click.option("--id-base", type=click.IntRange(0, 1), help="Where integer ids leave it open.")
@click.option(
    "--value",
    type=click.Choice(["distance", "score"]),
    help="What accompanies the lists.  [distance, or as a table's column is called]",
)
@click.option(
    "--list-length",
    type=click.IntRange(min=1),
    help="Items per list.  [as most have; 100 of values of the whole catalogue]",
)
@click.option("--force", is_flag=True, help="Replace a teacher that is there.")
@click.argument("paths", nargs=-1, required=True, metavar="[ROLE=]PATH...")
def import_(
    args: DatasetArgs,
    name: str | None,
    items: Path | None,
    force: bool,
    paths: tuple[str, ...],
    **understood: Any,
) -> None:
    """Make the files at PATH a teacher of a dataset, once they pass every check.

    \b
    A PATH is a folder of files with known names, or a file:
      embeddings  all_embeddings.pt, embeddings.npy, .safetensors, ...   [N, D]
      rankings    myrank_train.txt, rankings.npy: integer ids, best first  [R, K]
      distances   confidence_train.txt, distances.npy: of the listed items [R, K]
      dist, rank  BIGRec's arrays over the whole catalogue                 [R, N]
      table       .csv, .tsv, .parquet: a listed item a line, by keys of rows
    Other names need ROLE=PATH. docs/teachers.md says how each is understood.
    """
    from bench.cli.dataset import required
    from bench.teachers.exchange.files import Request
    from bench.teachers.exchange.importing import import_teacher

    name = required(name, "--name")
    request = Request(paths, items, **understood)
    rows = args.resolve()
    data, folder = rows.data(), rows.teacher_folder(name)
    for line in import_teacher(name, request, data, rows.workspace, folder, force):
        say(line)
    say(folder)


@command.command("export")
@_dataset
@_teacher
@options.rows
@click.option(
    "--id-base",
    type=click.IntRange(0, 1),
    default=0,
    show_default=True,
    help="What the first item of the catalogue is called.",
)
@click.argument("output", type=click.Path(path_type=Path))
def export(args: DatasetArgs, teacher: str, id_base: int, output: Path) -> None:
    """Write a teacher to the new folder OUTPUT in the layout that DLLM2Rec publishes."""
    from bench.teachers.exchange.exporting import export_dllm2rec

    rows = args.resolve()
    export_dllm2rec(rows.built_teacher(teacher), rows.data(), output, id_base)
    say(output)


@command.command()
@_dataset
@_teacher
@options.rows
@options.form
@_path
def check(args: DatasetArgs, teacher: str, form: str, path: Path | None) -> None:
    """Check a teacher, by name or by the PATH of its folder, against a dataset's rows.

    With a PATH dataset and protocol are those that the teacher was made for, unless --dataset or
    --protocol is given.
    """
    from bench.teachers.contract import check as check_folder
    from bench.teachers.manifest import read_manifest
    from bench.teachers.summary import summarise

    if path is None:
        rows = args.resolve()
        folder = rows.built_teacher(teacher)
    else:
        _reject_beside(path, "teacher")
        folder, rows = path, _made_for(args, read_manifest(path), path).resolve()
    data = rows.data()
    checked = check_folder(folder, data).or_raise(folder)
    show(summarise(checked, data), form, listed)


@command.command()
@_dataset
@_teacher
@options.rows
@options.form
@_path
def info(args: DatasetArgs, teacher: str, form: str, path: Path | None) -> None:
    """Show how good a teacher is by itself, its recipe and what it was made for.

    It is chosen by name, or by the PATH of its folder alone.
    """
    from bench.teachers.manifest import read_manifest

    if path is None:
        path = args.resolve().built_teacher(teacher)
    else:
        _reject_beside(path, "dataset", "teacher", "protocol", "overrides")
    manifest = read_manifest(path)
    content = {**manifest.model_dump(mode="json"), "fingerprint": manifest.fingerprint}
    if form == "text":
        content["metrics"] = _at_cut_offs(manifest.metrics)
    first = ("name", "kind", "dataset", "protocol", "signals", "metrics")
    latency = {LATENCY: manifest.recipe[LATENCY]} if LATENCY in manifest.recipe else {}
    show({**{key: content[key] for key in first}, **latency, **content}, form, listed)


def _made_for(args: DatasetArgs, manifest: TeacherManifest, path: Path) -> DatasetArgs:
    """The arguments, with what a manifest tells where the command line does not.

    Raises:
        ConfigError: the protocol that it names is not one that its name alone stands for.
    """
    from bench.data.config import FIRST_TARGET

    slug = manifest.protocol
    args = replace(args, dataset=args.dataset or manifest.dataset)
    if slug is None or args.protocol is not None or args.dataset != manifest.dataset:
        return args
    name = next((name for name in FIRST_TARGET if f"{slug}-".startswith(f"{name}-")), None)
    named = replace(args, protocol=name)
    if name is None or slug not in (name, named.resolve().protocol.slug):
        raise ConfigError(
            f"{path}: made for protocol '{slug}' of {args.dataset}: say how its rows are made "
            f"with --protocol ({', '.join(FIRST_TARGET)}) and --set protocol.PART=VALUE"
        )
    return named


def _reject_beside(path: Path, *names: str) -> None:
    """Raise ConfigError for options on the command line that a PATH leaves nothing to say for."""
    context = click.get_current_context()
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name in names
        and context.get_parameter_source(option.name) is not ParameterSource.DEFAULT
    ]
    if given:
        raise ConfigError(f"{', '.join(given)}: {path} says it already; give one or the other")


def _at_cut_offs(metrics: dict[str, dict[str, float]]) -> dict[str, Any]:
    """What people look at first: HR and NDCG, by split; or why there are none."""
    shown = {
        split: {name: value for name, value in found.items() if name.startswith(("hr@", "ndcg@"))}
        for split, found in metrics.items()
    }
    return shown or {"none": "it was imported without lists for the rows of evaluation"}
