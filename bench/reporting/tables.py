"""A leaderboard to tables of text, the common form that markdown, LaTeX and HTML print.

Every dataset, protocol and selection rule has its own section: the results, those under controls
of the teacher, the results by kind of target, and what a method costs.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.data.files import read_json
from bench.data.sources.synthetic_config import is_synthetic
from bench.data.store import identity
from bench.errors import DataError
from bench.evaluation.segments import INTERACTION_SEGMENTS, TARGET_SEGMENTS
from bench.paths import Workspace
from bench.reporting import costs, formatting, ladder, notes, rules
from bench.reporting.average_rank import section as over_datasets
from bench.reporting.overview import overview, reference_gains
from bench.reporting.section import Section, Table
from bench.reporting.segments import by_segment

_NAMES = len(formatting.NAMES)


def sections(board: pd.DataFrame, runs: pd.DataFrame) -> list[Section]:
    """The sections of a report: an overview, where there are two settings or more, and the rest.

    Args:
        board: a leaderboard of one or several metrics; the first is compared and tested.
        runs: what it was made of.
    """
    if board.empty:
        return []
    groups = [(lines, tested(lines)) for lines in rules.tables(board)]
    titles = [title(entries) for _, entries in groups]
    entries = tested(board)
    return [
        *filter(None, (overview(entries), overview(entries, other=True), over_datasets(entries))),
        *(
            Section(
                title=_told_apart(name, entries) if titles.count(name) > 1 else name,
                intro=_intro(entries),
                tables=_tables(lines, entries, runs),
                failures=_failures(entries, runs),
            )
            for name, (lines, entries) in zip(titles, groups, strict=True)
        ),
    ]


def tested(board: pd.DataFrame) -> pd.DataFrame:
    """The lines of a leaderboard's first metric: one for each entry."""
    return board[board["metric"] == board["metric"].iloc[0]]


def title(entries: pd.DataFrame) -> str:
    """The dataset and protocol of entries, and whether they were chosen on test."""
    first = entries.iloc[0]
    place = f"{first.dataset} · {first.protocol}"
    return place if first.selection == "validation" else f"{place} · oracle (chosen on test)"


def _told_apart(name: str, entries: pd.DataFrame) -> str:
    rule, data = rules.NAME[rules.rule_of(entries)], entries["data_fingerprint"].iloc[0][:8]
    return f"{name} · {rule} · data {data}"


def _intro(entries: pd.DataFrame) -> str:
    sizes = entries["examples"].dropna()
    size = f"{sizes.iloc[0]:,} test examples, " if len(sizes) else ""
    chosen = rules.CHOSEN[rules.rule_of(entries)]
    if entries["selection"].iloc[0] != "validation":
        chosen = (
            f"{chosen.partition(';')[0]}; epochs chosen on the test split itself, so these numbers "
            "are upper bounds: compare them with nothing outside this section"
        )
    made_up = "Synthetic data: drawn by a generator, not seen in the world. "
    return (
        f"{made_up if is_synthetic(entries['dataset'].iloc[0]) else ''}{_ties(entries)}"
        f"{size}{chosen}. Mean ± standard deviation over seeds."
    )


def _ties(entries: pd.DataFrame) -> str:
    """That ties stand in the order of the file, where the data that these entries saw say so."""
    workspace, dataset = Workspace.current(), str(entries["dataset"].iloc[0])
    source = workspace.datasets / dataset / "source" / "source.json"
    try:
        here = identity(dataset, str(entries["protocol"].iloc[0]), workspace)
        in_file_order = source.is_file() and read_json(source).get("file_order")
    except DataError:  # nobody's business here
        return ""
    if not in_file_order or here is None:
        return ""
    if here.fingerprint != entries["data_fingerprint"].iloc[0]:
        return ""
    return "Ties of time stand in the order of the file, as published: a model can learn it. "


def _tables(board: pd.DataFrame, entries: pd.DataFrame, runs: pd.DataFrame) -> list[Table]:
    taught = entries[entries["control"].isna()]
    tables = [
        _results(taught, board, runs),
        _controls(entries),
        *ladder.tables(entries, runs),
        *_by_target(taught, runs),
        _price(taught),
    ]
    return [table for table in tables if len(table.frame)]


def _framed(entries: pd.DataFrame, columns: dict[str, pd.Series[str]]) -> pd.DataFrame:
    """Names and other columns of entries, of which those of one setting belong together."""
    frame = pd.concat([formatting.names(entries), pd.DataFrame(columns)], axis=1)
    return frame.set_index(entries["setting"].fillna(""))


def _results(entries: pd.DataFrame, board: pd.DataFrame, runs: pd.DataFrame) -> Table:
    scores = board.assign(score=formatting.score(board["mean"], board["std"]))
    scores = scores.pivot(index="entry", columns="metric", values="score")
    rule, method = rules.rule_of(entries), _against(entries)
    told, entries = notes.of_results(entries, runs), _with_gains_of_references(entries)
    columns = {
        "Seeds": formatting.seeds(entries),
        **{
            rules.measured(name, rule): entries["entry"].map(scores[name])
            for name in board["metric"].unique()
        },
        rules.against(method, rule): formatting.gain(entries["gain"]),
        "p": formatting.p_value(entries),
        "Time": formatting.ratio(entries["epoch_vs_none"]),
    }
    if rules.differ(entries):
        other = rules.other_rule(entries)
        score = formatting.score(entries["other_mean"], entries["other_std"])
        columns |= {
            rules.measured(entries["metric"].iloc[0], other): score,
            rules.against(method, other): formatting.gain(entries["other_gain"]),
        }
    return Table("", _framed(entries, columns), _NAMES, [*told, *notes.of_sizes(board, runs)])


def _with_gains_of_references(entries: pd.DataFrame) -> pd.DataFrame:
    """What baselines and teachers gain over `none`, where one setting alone is compared."""
    if entries["setting"].nunique() != 1:
        return entries
    beside = reference_gains(entries).set_index("entry")
    told = {
        name: entries[name].fillna(entries["entry"].map(beside[name]))
        for name in ("gain", "other_gain")
    }
    return entries.assign(**told)


def _controls(entries: pd.DataFrame) -> Table:
    """Methods under a control of their teacher, beside what they gain of the teacher itself."""
    controls = entries[entries["control"].notna()]
    itself = controls["counterpart"].map(entries.set_index("entry")["gain"])
    against = rules.against(_against(entries), rules.rule_of(entries))
    columns = {
        "Seeds": formatting.seeds(controls),
        _label(entries): formatting.score(controls["mean"], controls["std"]),
        against: formatting.gain(controls["gain"]),
        "p": formatting.p_value(controls),
        "With the teacher": formatting.gain(itself),
    }
    note = (
        "A control is made of the teacher, and its worth is known: what a method gains of a "
        "shuffled one is not the teacher's knowledge. With the teacher: the gain of the same "
        f"method under the teacher itself, {against} too. p: as above."
    )
    return Table("Under controls of the teacher", _framed(controls, columns), _NAMES, [note])


def _by_target(entries: pd.DataFrame, runs: pd.DataFrame) -> list[Table]:
    """By interactions in training; of older records, by training targets alone."""
    segments = pd.DataFrame()
    if len(entries):
        segments = by_segment(runs, entries["metric"].iloc[0], rules.rule_of(entries))
    label, known = _label(entries), entries.join(segments, on="entry")
    counted, buckets = _having(known, INTERACTION_SEGMENTS)
    older, parts = _having(known[~known["entry"].isin(counted["entry"])], TARGET_SEGMENTS)
    return [
        Table(
            f"{label} by interactions with the target in training",
            _framed(counted, _segments(counted, buckets)),
            _NAMES,
            ["Interactions: as targets or in histories of training examples. 0: cold."],
        ),
        Table(
            f"{label} by how often the target was a training target",
            _framed(older, _segments(older, parts)),
            _NAMES,
            ["cold: never; rare: 1 to 4 times; warm: 5 times or more."],
        ),
    ]


def _having(entries: pd.DataFrame, segments: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The entries whose records have these segments, and the segments that have examples."""
    known = [name for name in segments if f"{name}/mean" in entries]
    wanted = [f"{name}/examples" for name in known]
    entries = entries[entries[wanted].notna().all(axis=1)] if known else entries[:0]
    return entries, [name for name in known if (entries[f"{name}/examples"] > 0).any()]


def _segments(entries: pd.DataFrame, segments: Sequence[str]) -> dict[str, pd.Series[str]]:
    """A column for each segment, with the number of its examples."""
    return {
        f"{name.removeprefix('interactions ')} "
        f"({entries[f'{name}/examples'].iloc[0]:,.0f} examples)": formatting.score(
            entries[f"{name}/mean"], entries[f"{name}/std"]
        )
        for name in segments
    }


def _price(entries: pd.DataFrame) -> Table:
    trials = entries[(entries["kind"] == "trial") & (entries["n"] > 0)]
    epoch = formatting.shown(trials["epoch_seconds"], formatting.duration)
    epochs = formatting.shown(trials["epochs"], "{:.0f} x ".format) + epoch
    total = formatting.shown(trials["train_seconds"], formatting.duration)
    ratio = " (" + formatting.written(trials["train_vs_none"], "{:.1f}x".format) + ")"
    extra = trials["train_parameters"].fillna(0) - trials["parameters"]
    on_top = " + " + formatting.written(extra[extra > 0], formatting.count)
    parameters = formatting.shown(trials["parameters"], formatting.count)
    columns = {
        "Gap closed": formatting.shown(trials["gap_closed"], "{:.0f} %".format),
        "Epochs": epochs.where(trials["epoch_seconds"].notna(), formatting.MISSING),
        "Training": total + ratio.fillna(""),
        "Parameters": parameters + on_top.reindex(trials.index).fillna(""),
        "Latency": formatting.shown(costs.latency(trials), "{:.2f} ms".format),
    }
    return Table(
        "What it costs, and what it gains of the teacher's lead",
        _framed(trials, columns),
        _NAMES,
        [
            f"Gap closed: share of the teacher's lead over none in {_label(entries)} that the "
            f"student gains, {formatting.MISSING} where that lead is none or not clear "
            "(p > .0001). "
            "Epochs: how many, and how long one took on average over the stages of a method. "
            "Training: all of them, and that as a multiple of none's; on a CPU in seconds of the "
            "processor. Parameters: of the finished student, and what only training needs on "
            "top. Latency: median of one request, the least that was seen of a student with as "
            "many parameters in this setting, since machines are busier at one time than at "
            "another."
        ],
    )


def _against(entries: pd.DataFrame) -> str:
    return str(entries["against"].iloc[0]) if len(entries) else ""


def _label(entries: pd.DataFrame) -> str:
    """The metric as tables print it."""
    return rules.metric_of(entries) if len(entries) else ""


def _failures(entries: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """The trials without a result, entry by entry, and what each ended with."""
    lost = runs.loc[runs["status"] != "done", ["entry", "seed", "status", "error"]]
    names = entries[["entry"]].assign(named=formatting.named(entries))
    lost = names.merge(lost.sort_values("seed"), on="entry")
    return [
        f"{run.named}, seed {run.seed}: {run.status}: {last_line(run.error)}"
        for run in lost.itertuples()
    ]


def last_line(text: str) -> str:
    """What a failure ended with."""
    return (text.strip() or "no message").splitlines()[-1]
