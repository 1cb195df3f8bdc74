"""`bench list`: what there is, one line each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench.cli import options
from bench.cli.printing import show, tell
from bench.cli.tables import aligned
from bench.errors import ConfigError
from bench.paths import Workspace

if TYPE_CHECKING:
    from bench.plan import Reference, Trial

File = TypeVar("File")
Entry = dict[str, Any]
"""`name`, `summary` and what else is known."""


@click.command()
@click.argument(
    "kind",
    type=click.Choice(
        [
            "methods",
            "datasets",
            "students",
            "teachers",
            "baselines",
            "executors",
            "suites",
            "results",
        ]
    ),
)
@options.form
@options.plugins
@options.records
def command(kind: str, form: str, plugins: tuple[Path, ...], results: Path | None) -> None:
    """List what can be named in other commands, or the records there are."""
    options.register(plugins)
    workspace = Workspace.current()
    listings: dict[str, Callable[[], list[Entry]]] = {
        "methods": lambda: _methods(workspace),
        "datasets": lambda: _datasets(workspace),
        "students": lambda: _students(workspace),
        "teachers": lambda: _teachers(workspace),
        "baselines": _baselines,
        "executors": _executors,
        "suites": lambda: _suites(workspace),
        "results": lambda: _results(results or workspace.results),
    }
    entries = listings[kind]()
    if not entries and form == "text":
        tell(f"no {kind} yet")
    else:
        show(entries, form, _text)


def _methods(workspace: Workspace) -> list[Entry]:
    from bench.config.methods import read_method
    from bench.registry import METHODS

    files = _readable({one.name: partial(read_method, one, workspace) for one in METHODS})
    return [
        {
            "name": entry.name,
            "summary": entry.summary,
            "variants": sorted(files[entry.name].variants),
            "needs": sorted(entry.needs),
        }
        for entry in METHODS
        if entry.name in files
    ]


def _readable(files: Mapping[str, Callable[[], File]]) -> dict[str, File]:
    """What files say, by name; one that is broken is told of, and hides no other."""
    found = {}
    for name, read in files.items():
        try:
            found[name] = read()
        except ConfigError as error:
            tell(f"left out '{name}': {error}")
    return found


def _datasets(workspace: Workspace) -> list[Entry]:
    from bench.data.config import dataset_config, dataset_names

    names = dataset_names(workspace)
    configs = _readable({name: partial(dataset_config, name, workspace) for name in names})
    return [
        {"name": name, "summary": config.summary, "protocol": config.protocol.slug}
        for name, config in configs.items()
    ]


def _students(workspace: Workspace) -> list[Entry]:
    from bench import layers
    from bench.students.config import read_student

    names = layers.names("students", workspace)
    files = _readable({name: partial(read_student, name, workspace) for name in names})
    return [
        {"name": name, "summary": file.summary, "model": file.model} for name, file in files.items()
    ]


def _teachers(workspace: Workspace) -> list[Entry]:
    from bench import layers
    from bench.teachers.config import read_teacher
    from bench.teachers.manifest import teachers_in

    names = layers.names("teachers", workspace)
    files = _readable({name: partial(read_teacher, name, workspace) for name in names})
    configured = [
        {"name": name, "summary": file.summary, "kind": file.kind} for name, file in files.items()
    ]
    imported: dict[str, list[str]] = defaultdict(list)
    for folder in sorted(path for path in workspace.tocf.glob("*") if path.is_dir()):
        for name in teachers_in(folder):
            # One of other rows than the dataset's own has their protocol behind a dot.
            if name.partition(".")[0] not in names:
                imported[name].append(folder.name)
    return configured + [
        {"name": name, "summary": f"of {', '.join(datasets)}", "kind": "imported"}
        for name, datasets in sorted(imported.items())
    ]


def _baselines() -> list[Entry]:
    from bench.baselines.interface import BASELINES

    return [{"name": entry.name, "summary": entry.summary} for entry in BASELINES]


def _executors() -> list[Entry]:
    from bench.executors.interface import EXECUTORS

    return [
        {
            "name": entry.name,
            "summary": entry.summary,
            "options": sorted(EXECUTORS.load(entry.name).Config.model_fields),
        }
        for entry in EXECUTORS
    ]


def _suites(workspace: Workspace) -> list[Entry]:
    from bench import layers
    from bench.config.selection import read_suite

    names = layers.names("suites", workspace)
    suites = _readable({name: partial(read_suite, name, workspace) for name in names})
    return [{"name": name, "summary": suite.summary} for name, suite in suites.items()]


def _results(folder: Path) -> list[Entry]:
    from bench.records.store import ResultStore

    entries = []
    for record in sorted(ResultStore(folder).records(), key=lambda record: record.created):
        value = record.metrics.get("test", {}).get("ndcg@20")
        result = record.status if value is None else f"test ndcg@20 {value:.4f}"
        entries.append(
            {
                "name": record.key,
                "summary": f"{_described(record.subject)}: {result}",
                "status": record.status,
                "created": record.created,
            }
        )
    return entries


def _described(subject: Trial | Reference) -> str:
    from bench.plan import Trial

    if not isinstance(subject, Trial):
        return f"{subject.dataset} {subject.protocol} {subject.name}"
    changes = (f"{key}={value}" for key, value in sorted(subject.overrides.items()))
    return " ".join([subject.label, subject.protocol, *changes])


def _text(entries: list[Entry]) -> str:
    rest = [key for key in entries[0] if key not in ("name", "summary")]
    rows = [["name", *rest, "summary"]]
    for entry in entries:
        cells = [entry["name"], *(entry[key] for key in rest), entry["summary"]]
        rows.append([", ".join(c) or "-" if isinstance(c, list) else c for c in cells])
    return aligned(rows)
