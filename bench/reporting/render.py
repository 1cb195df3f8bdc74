"""A results folder to the text of a report: what `bench report` and `bench run` print."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from bench.errors import UnknownNameError
from bench.evaluation.metrics import metric_names, parse_metric
from bench.records.comparison import NONE
from bench.records.frame import runs as runs_of
from bench.records.leaderboard import TABLE, leaderboard, newest
from bench.records.store import ResultStore
from bench.reporting.formats import DEFAULT_FORMAT, FORMATS

DEFAULT_METRICS = ("ndcg@20", "hr@20")
"""What people read by default; the first is the one that is sorted by and tested."""

_ALL_METRICS = ("ndcg@20", *(name for name in metric_names() if name != "ndcg@20"))
_DATA = TABLE[:3]
_FOR_READING = ("markdown", "latex", "html", "svg")


_texts_in_python = pd.option_context("mode.string_storage", "python")
"""Small frames are made and looked up twice as fast with Python's own texts as with Arrow's."""


@_texts_in_python
def render(
    store: ResultStore,
    format: str = DEFAULT_FORMAT,
    metrics: Sequence[str] | None = None,
    *,
    keys: Collection[str] | None = None,
    datasets: Collection[str] | None = None,
    methods: Collection[str] | None = None,
    against: str = NONE,
) -> str:
    """The leaderboards of a store, without a final newline.

    Args:
        store: where the records are.
        format: a name in `FORMATS`.
        metrics: names such as `ndcg@20`, the first of which is sorted by and tested; by default
            NDCG@20 and HR@20 in what people read, and all that records hold in JSON and CSV.
        keys: as `selected` takes them, and so are the others.
        datasets: names.
        methods: names.
        against: name of the method to compare with.

    Raises:
        ConfigError: an unknown format or metric, or no record of a dataset or method.
    """
    formatter = FORMATS.load(format)
    metrics = metrics or (DEFAULT_METRICS if format in _FOR_READING else _ALL_METRICS)
    board, runs = selected(
        store, metrics, keys=keys, datasets=datasets, methods=methods, against=against
    )
    if board.empty and format == DEFAULT_FORMAT:
        return _nothing(runs, store)
    return formatter(board, runs)


@_texts_in_python
def selected(
    store: ResultStore,
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    keys: Collection[str] | None = None,
    datasets: Collection[str] | None = None,
    methods: Collection[str] | None = None,
    against: str = NONE,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The leaderboard of a store and the runs behind it.

    The filters choose what is shown, never what it is compared with: an entry has the same
    numbers, corrections included, in every selection of entries.

    Args:
        store: where the records are.
        metrics: names such as `ndcg@20`.
        keys: show the entries that these records belong to, with their baselines and teachers,
            their `none` and the method they are compared with.
        datasets: show these only.
        methods: show these only (with any variant), beside baselines and teachers.
        against: name of the method to compare with.

    Raises:
        ConfigError: an unknown metric, or no record of a dataset or method.
    """
    wanted = list(dict.fromkeys(str(parse_metric(name)) for name in metrics))
    runs = newest(runs_of(store.each(), store.folder))
    trials = runs[runs["kind"] == "trial"]
    _check_known("dataset", datasets or (), {*runs["dataset"]})
    _check_known("method", methods or (), {*trials["method"], *_without_variant(trials)})
    if keys is not None:
        runs = runs[_of(runs, _DATA).isin(_of(runs[runs["key"].isin(keys)], _DATA))]
    board = leaderboard(runs, wanted, against)
    return board[_is_shown(board, runs, keys, datasets, methods)], runs


def _check_known(kind: str, names: Collection[str], known: set[str]) -> None:
    """Reject what no record is of; of no records at all, whatever is named is right."""
    for name in names:
        if known and name not in known:
            raise UnknownNameError(kind, name, known, "these records")


def _is_shown(
    board: pd.DataFrame,
    runs: pd.DataFrame,
    keys: Collection[str] | None,
    datasets: Collection[str] | None,
    methods: Collection[str] | None,
) -> pd.Series[bool]:
    reference = board["kind"] != "trial"
    shown = pd.Series(True, board.index)
    if datasets:
        shown &= board["dataset"].isin(datasets)
    if methods:
        shown &= reference | board["method"].isin(methods) | _without_variant(board).isin(methods)
    if keys is not None:
        held = board["entry"].isin(runs["entry"][runs["key"].isin(keys)])
        opponent = board["method"].isin([NONE, *board["against"][:1]]) & board["control"].isna()
        opponent &= board["setting"].isin(board["setting"][held])
        shown &= held | opponent | (reference & _of(board, TABLE).isin(_of(board[held], TABLE)))
    return shown


def _without_variant(frame: pd.DataFrame) -> pd.Series[str]:
    return frame["method"].str.split(":").str[0]


def _of(frame: pd.DataFrame, columns: list[str]) -> pd.Series[Any]:
    """Several columns as one, of tuples."""
    return pd.Series([*zip(*(frame[name] for name in columns), strict=True)], frame.index, object)


def _nothing(runs: pd.DataFrame, store: ResultStore) -> str:
    if len(runs):
        datasets, methods = (
            ", ".join(sorted({*names})) or "none yet"
            for names in (runs["dataset"], runs["method"][runs["kind"] == "trial"])
        )
        return (
            f"No results match. There are records of the datasets {datasets} "
            f"and of the methods {methods}."
        )
    return (
        f"No results yet in {store.folder}.\n"
        "Make some with: bench run --method none --method dllm2rec --dataset movielens\n"
        "The project's own: bench report --results results/reference"
    )
