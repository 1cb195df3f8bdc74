"""The Python interface, which `import bench` offers: the command line's work on DataFrames."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.errors import ConfigError
from bench.paths import Workspace
from bench.records.frame import runs
from bench.records.leaderboard import leaderboard
from bench.records.store import ResultStore

if TYPE_CHECKING:
    from bench.data.examples import PreparedData
    from bench.students.adapter import Adapter

__all__ = ["leaderboard", "load_data", "load_student", "results", "run"]

Names = str | Iterable[str]


def results(folder: str | PathLike[str] | None = None) -> pd.DataFrame:
    """All runs of a results folder, one line each, the oldest first.

    Args:
        folder: of `bench run`, or one archive of records; by default the workspace's own.

    Returns:
        Coordinates, settings, metrics, cost and environment of trials, and of the rankings of
        baselines and teachers; docs/python.md lists the columns.

    Raises:
        DataError: an archive cannot be read.
    """
    store = _store(folder)
    return runs(sorted(store.records(), key=lambda record: record.created), store.folder)


def run(
    methods: Names,
    datasets: Names,
    students: Names = (),
    *,
    teachers: Names = (),
    references: Names = (),
    controls: Names = (),
    seeds: str | Iterable[int] = "",
    protocol: str | None = None,
    settings: Mapping[str, Any] | None = None,
    folder: str | PathLike[str] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Train what has no record yet of a grid, as `bench run` does with the same options.

    Data and teachers that are missing are made first. A trial that fails is a run as well, whose
    `status` is not `done`.

    Args:
        methods: names such as `dllm2rec` or `dllm2rec:paper`, or `all`; one or several.
        datasets: names, or `all`.
        students: names, or `all`; by default the suite's own choice.
        teachers: names; by default each method's own.
        references: teachers whose own ranking is asked for, whatever learns from them.
        controls: repeat every distilled trial under these, such as `shuffled`.
        seeds: such as `range(3)` or `"0-2"`; by default 0.
        protocol: name; by default each dataset's own.
        settings: what `--set` takes, such as `{"training.max_epochs": 20}`.
        folder: where records go; by default the workspace's own.
        **options: `device`, `threads`, `jobs` and `retry_failed`, as
            `bench.execution.run.run_grid` takes them.

    Returns:
        The runs of the grid, old and new, and those of the baselines and teachers of their data.

    Raises:
        ConfigError: a wrong name or setting, or nothing of the grid can be.
        DataError: data or a teacher cannot be used.
    """
    from bench.config.grid import resolve
    from bench.config.selection import Selection
    from bench.display import shown
    from bench.execution.run import run_grid

    if isinstance(seeds, int):
        raise ConfigError(f"seeds={seeds}: write range({seeds}) for that many, [{seeds}] for one")
    selection = Selection(
        methods=_listed(methods),
        datasets=_listed(datasets),
        students=_listed(students),
        teachers=_listed(teachers),
        references=_listed(references),
        controls=_listed(controls),
        seeds=seeds if isinstance(seeds, str) else ",".join(map(str, seeds)),
        protocol=protocol,
        overrides=[f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()],
    )
    workspace, store = Workspace.current(), _store(folder)
    # Who has set up logging is shown the lines already.
    quiet = logging.getLogger("bench").hasHandlers()
    with contextlib.nullcontext() if quiet else shown():
        records = run_grid(resolve(selection, workspace), store, workspace, **options)
    found = results(store.folder)
    ours = found["key"].isin([record.key for record in records])
    of_our_data = found["data_fingerprint"].isin(found["data_fingerprint"][ours])
    return found[ours | (of_our_data & (found["kind"] != "trial"))].reset_index(drop=True)


def load_student(key: str, folder: str | PathLike[str] | None = None) -> Adapter:
    """The student of a finished trial, in evaluation mode on the CPU.

    Args:
        key: of its run, or any beginning of it that is unique.
        folder: of the results; by default the workspace's own.

    Returns:
        A torch module: `encode(history [B, L], length [B], user)` gives [B, d], and `logits` of
        that the scores [B, N + 1] of all items; item 0 is padding and has -inf. docs/python.md
        shows how to use it.

    Raises:
        UnknownNameError: no finished trial, or several, have such a key.
        ConfigError: the record holds no student, or the data are not those it was trained on.
    """
    from bench.execution.finished import load_student
    from bench.records.export import find_trial, student_file

    store = _store(folder)
    record = find_trial(key, store)
    student_file(record, store)  # rejects before data are loaded
    return load_student(record, store, load_data(record.subject.dataset, record.subject.protocol))


def load_data(dataset: str, protocol: str | None = None) -> PreparedData:
    """The examples of a dataset that was prepared, with the tokens of its items and users.

    Args:
        dataset: its name.
        protocol: as runs name it, such as `temporal-10`; None: the dataset's own.

    Raises:
        ConfigError: no dataset has this name.
        DataError: they were not prepared.
    """
    from bench.data import store
    from bench.data.config import dataset_config

    workspace = Workspace.current()
    return store.load(
        dataset, protocol or dataset_config(dataset, workspace).protocol.slug, workspace
    )


def _store(folder: str | PathLike[str] | None) -> ResultStore:
    return ResultStore(Workspace.current().results if folder is None else Path(folder))


def _listed(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
