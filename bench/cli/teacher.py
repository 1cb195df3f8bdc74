"""`bench teacher`: build, bring, check, describe and hand on teacher knowledge."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench.errors import ArtifactError, ConfigError, UnknownNameError
from bench.paths import Workspace

if TYPE_CHECKING:
    from bench.config.overrides import Overrides
    from bench.data.rows import PreparedData
    from bench.teachers.manifest import TeacherManifest

F = TypeVar("F", bound=Callable[..., Any])

LATENCY = "latency_ms_per_user"
"""Key of a recipe: milliseconds that the teacher takes to rank for one user."""

progress = partial(click.echo, err=True)


_overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Such as protocol.history=20; `build` takes teacher.epochs=3 and the like too.",
)


def _common(function: F) -> F:
    for option in (
        _overrides,
        click.option("--protocol", help="Protocol of the rows; else the dataset's own."),
        click.option(
            "--teacher",
            default="text",
            show_default=True,
            help="Name of the teacher; `published` for bare files in the dataset's folder.",
        ),
        click.option("--dataset", help="Name of the dataset."),
    ):
        function = option(function)
    return function


_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group()
def command() -> None:
    """Make, bring, check and describe teacher knowledge (tocf)."""


@command.command()
@_common
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [all cores]")
@click.option("--force", is_flag=True, help="Replace a teacher that is there.")
def build(
    dataset: str | None,
    teacher: str,
    protocol: str | None,
    overrides: tuple[str, ...],
    device: str,
    threads: int | None,
    force: bool,
) -> None:
    """Build a configured teacher on the training rows of a dataset."""
    from bench.config import layers
    from bench.config.overrides import Overrides, overlay
    from bench.execution.environment import set_up
    from bench.teachers.build import ensure_teacher
    from bench.teachers.config import TeacherConfig

    workspace = Workspace.current()
    given = Overrides(overrides)
    mapping = layers.read("teachers", teacher, workspace)
    config = layers.build(
        TeacherConfig, mapping, str(layers.locate("teachers", teacher, workspace))
    )
    taken = given.take("teacher", None)
    rows = _Rows(workspace, _required(dataset, "--dataset"), protocol, given)
    device, _ = set_up(device, threads)
    data = rows.data()
    options = overlay(config.options_for(data.dataset), taken)
    config = config.model_copy(update={"options": options, "datasets": {}})
    click.echo(
        ensure_teacher(teacher, config, data, workspace, progress, rows.default, force, device)
    )


@command.command("import")
@click.option("--dataset", help="Name of the dataset.")
@click.option("--name", help="What the teacher is to be called.")
@click.option("--protocol", help="Protocol of the rows; else the dataset's own.")
@_overrides
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
    dataset: str | None,
    name: str | None,
    protocol: str | None,
    overrides: tuple[str, ...],
    items: Path | None,
    force: bool,
    paths: tuple[str, ...],
    **options: Any,
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
    from bench.teachers.exchange.importing import Request, import_teacher
    from bench.teachers.manifest import teacher_folder

    workspace = Workspace.current()
    name = _required(name, "--name")
    request = Request(paths, items, **options)
    rows = _rows(dataset, protocol, overrides)
    folder = teacher_folder(workspace, rows.dataset, name, rows.slug, rows.default)
    for line in import_teacher(name, request, rows.data(), workspace, folder, progress, force):
        click.echo(line)
    click.echo(folder)


@command.command("export")
@_common
@click.option("--layout", type=click.Choice(["dllm2rec"]), default="dllm2rec", show_default=True)
@click.option(
    "--id-base",
    type=click.IntRange(0, 1),
    default=0,
    show_default=True,
    help="What the first item of the catalogue is called.",
)
@click.argument("output", type=click.Path(path_type=Path))
def export(
    dataset: str | None,
    teacher: str,
    protocol: str | None,
    overrides: tuple[str, ...],
    layout: str,
    id_base: int,
    output: Path,
) -> None:
    """Write a teacher to the new folder OUTPUT in the layout that DLLM2Rec publishes."""
    from bench.teachers.exchange.exporting import export_dllm2rec

    rows = _rows(dataset, protocol, overrides)
    export_dllm2rec(rows.folder(teacher), rows.data(), output, id_base)
    click.echo(output)


@command.command()
@_common
@_format
@click.argument("path", required=False, type=click.Path(path_type=Path))
def check(
    dataset: str | None,
    teacher: str,
    protocol: str | None,
    overrides: tuple[str, ...],
    form: str,
    path: Path | None,
) -> None:
    """Check a teacher, by name or by the PATH of its folder, against a dataset's rows."""
    from bench.teachers.contract import check as check_folder
    from bench.teachers.summary import summarise

    if path is not None and dataset is None and path.is_dir():
        dataset = _read(path).dataset
    rows = _rows(dataset, protocol, overrides)
    folder, data = path or rows.folder(teacher), rows.data()
    checked = check_folder(folder, data)
    if checked.problems:
        raise ArtifactError(str(folder), checked.problems)
    _show(summarise(checked, data), form)


@command.command()
@_common
@_format
@click.argument("path", required=False, type=click.Path(path_type=Path))
def info(
    dataset: str | None,
    teacher: str,
    protocol: str | None,
    overrides: tuple[str, ...],
    form: str,
    path: Path | None,
) -> None:
    """Show how good a teacher is by itself, its recipe and what it was made for."""
    if path is None:
        path = _rows(dataset, protocol, overrides).folder(teacher)
    manifest = _read(path)
    content = {**manifest.model_dump(mode="json"), "fingerprint": manifest.fingerprint}
    if form == "text":
        content["metrics"] = _at_cut_offs(manifest.metrics)
    first = ("name", "kind", "dataset", "protocol", "signals", "metrics")
    latency = {LATENCY: manifest.recipe[LATENCY]} if LATENCY in manifest.recipe else {}
    _show({**{key: content[key] for key in first}, **latency, **content}, form)


def _at_cut_offs(metrics: dict[str, dict[str, float]]) -> dict[str, Any]:
    """What people look at first: HR and NDCG, by split; or that nobody told."""
    shown = {
        split: {name: value for name, value in found.items() if name.startswith(("hr@", "ndcg@"))}
        for split, found in metrics.items()
    }
    return shown or {"not told": "it was imported without lists for the rows of evaluation"}


def _rows(dataset: str | None, protocol: str | None, overrides: tuple[str, ...]) -> _Rows:
    from bench.config.overrides import Overrides

    where = Workspace.current(), _required(dataset, "--dataset")
    return _Rows(*where, protocol, Overrides(overrides))


class _Rows:
    """The rows of a dataset under the protocol that was asked for, and the teachers of them."""

    def __init__(
        self, workspace: Workspace, dataset: str, protocol: str | None, overrides: Overrides
    ) -> None:
        """Takes what is left of `overrides`; no other value may be among them."""
        from bench.config.overrides import protocol_of
        from bench.data.config import dataset_config

        self.workspace, self.dataset = workspace, dataset
        self._config = dataset_config(dataset, workspace)
        self._protocol = protocol_of(self._config, protocol, overrides)
        overrides.refuse_unused()
        self.slug, self.default = self._protocol.slug, self._config.protocol.slug

    def data(self) -> PreparedData:
        """The rows, prepared if need be."""
        from bench.data import store

        return store.prepare(self.dataset, self._config, self._protocol, self.workspace, progress)

    def folder(self, teacher: str) -> Path:
        """The folder of a teacher that is there."""
        from bench.teachers.manifest import teacher_folder

        folder = teacher_folder(self.workspace, self.dataset, teacher, self.slug, self.default)
        if not folder.is_dir():
            there = [path.name for path in folder.parent.glob("[!.]*") if path.is_dir()]
            raise UnknownNameError(
                "teacher", folder.name, there, f"{folder.parent} (`bench teacher build` makes one)"
            )
        return folder


def _read(folder: Path) -> TeacherManifest:
    from bench.teachers.manifest import read_manifest

    return read_manifest(folder)


def _required(value: str | None, option: str) -> str:
    if value is None:
        raise ConfigError(f"{option} is missing")
    return value


def _show(content: dict[str, Any], form: str) -> None:
    if form == "json":
        click.echo(json.dumps(content, indent=2))
        return
    for line in _lines(content):
        click.echo(line)


def _lines(content: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    width = max((len(str(key)) for key in content), default=0)
    for key, value in content.items():
        label = f"{indent}{str(key).replace('_', ' '):<{width}}"
        if isinstance(value, dict) and value:
            lines += [label.rstrip(), *_lines(value, indent + "  ")]
        elif isinstance(value, list) and any(
            isinstance(item, str) and " " in item for item in value
        ):
            lines += [label.rstrip(), *(f"{indent}  - {item}" for item in value)]
        else:
            lines.append(f"{label}  {_text(value)}")
    return lines


def _text(value: Any) -> str:
    if value in (None, {}, []):
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)
