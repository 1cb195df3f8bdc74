"""A results folder to the text of a report: what `bench report` and `bench run` print."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bench.evaluation.metrics import parse_metric
from bench.plan import Trial
from bench.records.store import ResultStore
from bench.reporting.formats import DEFAULT_FORMAT, FORMATS
from bench.reporting.leaderboard import leaderboard
from bench.reporting.rows import BASELINE
from bench.reporting.tables import DEFAULT_METRICS

_FOR_READING = ("markdown", "latex", "html", "svg")


def render(
    store: ResultStore,
    format: str = DEFAULT_FORMAT,
    metrics: Sequence[str] | None = None,
    *,
    keys: Collection[str] | None = None,
    datasets: Collection[str] | None = None,
    methods: Collection[str] | None = None,
    against: str = BASELINE,
) -> str:
    """The leaderboards of a store, without a final newline.

    Args:
        store: where the records are.
        format: a name in `FORMATS`.
        metrics: names such as `ndcg@20`, the first of which is sorted by and tested; by default
            NDCG@20 and HR@20 in what people read, and all that records hold in JSON and CSV.
        keys: show what these records belong to, with their `none` and references.
        datasets: show these only.
        methods: show these only, beside the references.
        against: name of the method to compare with.

    Raises:
        ConfigError: an unknown format or metric, or no record of a dataset or method.
    """
    formatter = FORMATS.load(format)
    wanted = list(dict.fromkeys(map(parse_metric, metrics or ()))) or None
    if wanted is None and format in _FOR_READING:
        wanted = list(DEFAULT_METRICS)
    rows = leaderboard(
        store, wanted, keys=keys, datasets=datasets, methods=methods, against=against
    )
    if not rows and format == DEFAULT_FORMAT:
        return _nothing(store)
    return formatter(rows, wanted)


def _nothing(store: ResultStore) -> str:
    subjects = [record.subject for record in store.records()]
    if datasets := sorted({subject.dataset for subject in subjects}):
        methods = sorted({subject.method for subject in subjects if isinstance(subject, Trial)})
        return (
            f"No results match. There are records of the datasets {', '.join(datasets)} "
            f"and of the methods {', '.join(methods) or 'none yet'}."
        )
    return (
        f"No results yet in {store.folder}.\n"
        "Make some with: bench run --method none --method dllm2rec --dataset movielens\n"
        "The project's own: bench report --results results/reference"
    )
