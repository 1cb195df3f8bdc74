"""How to read a table of results, in sentences: only what the entries in it call for."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from bench.evaluation.metrics import CATALOGUE, MASKED, RANKED_PLACES, parse_metric
from bench.records.comparison import NONE, SIGNIFICANT
from bench.reporting import rules
from bench.reporting.formatting import named

SHOWN = 3
"""Entries that are named of those that mix devices."""


def of_results(entries: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """What is compared with what, what p and times are, and what a reader must beware of.

    Args:
        entries: of one table.
        runs: what they were made of.
    """
    if entries.empty:
        return []
    return [
        *_of_weak_teachers(entries, runs),
        *_of_comparisons(entries),
        *_of_rules(entries),
        *_of_tests(entries),
        *_of_seeds(entries),
        *_of_devices(entries),
        *_of_times(entries),
        *_of_versions(entries),
    ]


def of_sizes(board: pd.DataFrame, runs: pd.DataFrame) -> Iterator[str]:
    """Which teachers' lists are too short for a metric, and which metrics the catalogue is for.

    Args:
        board: the lines of all metrics.
        runs: what it was made of.
    """
    # A method's settings have names of its own.
    ours = runs[runs["entry"].isin(board["entry"]) & (runs["kind"] != "trial")]
    cutoffs = {name: parse_metric(name).cutoff for name in board["metric"].unique()}
    of_catalogue = {one[CATALOGUE] for one in ours["settings"] if CATALOGUE in one}
    for name, cutoff in cutoffs.items():
        if of_catalogue and cutoff >= min(of_catalogue):
            yield (
                f"{name.upper()}: there are {min(of_catalogue):,} items, so the first {cutoff} "
                "hold the target whatever the method: HR is 1, and the others cut nothing off."
            )
    for teacher, settings in zip(ours["teacher"], ours["settings"], strict=True):
        places = settings.get(RANKED_PLACES)
        if places is not None and any(cutoff > places for cutoff in cutoffs.values()):
            yield (
                f"{teacher}: its lists hold {places} items, and metrics up to that K are told "
                f"(such as --metric ndcg@{places})."
            )


def _of_comparisons(entries: pd.DataFrame) -> Iterator[str]:
    other, compared = entries["against"].iloc[0], entries["gain"].notna().any()
    if compared:
        yield (
            f"vs {other}: {_metric(entries)} against the method {other} with the same student, "
            "objective and training, on the seeds both ran."
        )
    if other != NONE:
        yield (
            "The teacher is the same too; a control is compared with the teacher it is made of."
            if compared
            else f"vs {other}: no entry here has a counterpart of {other}."
        )


def _of_weak_teachers(entries: pd.DataFrame, runs: pd.DataFrame) -> Iterator[str]:
    """Teachers that rank the validation targets worse than the student alone does."""
    metric, masked = entries["metric"].iloc[0], rules.rule_of(entries) == "mask"
    done = runs[(runs["status"] == "done") & runs["entry"].isin(entries["entry"])]
    for split in (f"valid-{MASKED}", "valid") if masked else ("valid",):
        column = f"{split}/{metric}"
        if column not in done or done[column][done["kind"] == "teacher"].isna().all():
            continue
        alone = done[done["method"] == NONE].groupby("setting")[column].mean()
        names = done[done["kind"] == "trial"].groupby("setting")["student"].first()
        teachers = done[done["kind"] == "teacher"]
        for teacher, own in zip(teachers["teacher"], teachers[column], strict=True):
            for setting in alone.index[alone > own]:
                yield (
                    f"The teacher {teacher} is worse than {names[setting]} alone on validation "
                    f"({rules.measured(metric, rules.rule_of(entries))} {own:.4f}, none "
                    f"{alone[setting]:.4f}): what a method gains is not its better ranking."
                )
        return


def _of_rules(entries: pd.DataFrame) -> Iterator[str]:
    if not rules.differ(entries):
        return
    rule, other = rules.rule_of(entries), rules.other_rule(entries)
    metric = entries["metric"].iloc[0]
    yield (
        f"{rules.measured(metric, rule)} and {rules.measured(metric, other)}: the same trials, "
        "ranked with and without the items that the user had before. Epochs were chosen by the "
        "first, and p is of it."
    )


def _of_tests(entries: pd.DataFrame) -> Iterator[str]:
    tests = entries[entries["p"].notna()]
    if len(tests):
        yield (
            f"p: two-sided paired test of {_metric(entries)} over test examples, clustered by user "
            f"({tests['users'].iloc[0]:,} users), with the spread between seeds of all methods of "
            f"the student added; Holm-corrected over these methods; * below {SIGNIFICANT}: other "
            "users and other seeds would show it."
        )
        if not tests["seeds_known"].all():
            yield (
                "Where no method of a student has two seeds, p speaks for other users alone, and "
                "has no *."
            )
    untested = entries[entries["gain"].notna() & entries["p"].isna()]
    if len(untested):
        which = "" if len(tests) == 0 else f" of {'; '.join(named(untested))}"
        yield (
            f"p{which}: not known, as the users of the test examples (users/ beside the records) "
            "are missing or damaged, or do not belong to the ranks. `bench run` of the same "
            "dataset writes them again."
        )


def _of_seeds(entries: pd.DataFrame) -> Iterator[str]:
    compared = entries[entries["gain"].notna()]
    if len(compared.drop_duplicates(["setting", "compared_seeds"])) > compared["setting"].nunique():
        yield "Entries rest on different seeds: compare their gains, not their scores."
    fewer = compared[compared["compared_seeds"] != compared["seeds"]]
    for name, seeds, n in zip(named(fewer), fewer["compared_seeds"], fewer["n"], strict=True):
        yield f"{name} is compared on {len(seeds.split())} of its {n} seeds."


def _of_devices(entries: pd.DataFrame) -> Iterator[str]:
    """Entries that were trained on several devices, or on another one than what they stand beside.

    Different devices round differently: a seed is then no longer the same run under two methods.
    """
    trained = entries[(entries["kind"] == "trial") & (entries["devices"] != "")]
    of_none = trained[trained["method"] == NONE].drop_duplicates("setting")
    expected = trained["setting"].map(of_none.set_index("setting")["devices"])
    several = trained["devices"].str.contains(" + ", regex=False)
    mixed = trained[several | (expected.notna() & (trained["devices"] != expected))]
    if len(mixed):
        named_on = [
            f"{name} on {devices}"
            for name, devices in zip(named(mixed), mixed["devices"], strict=True)
        ]
        if len(named_on) > SHOWN:
            named_on[SHOWN:] = [f"and {len(named_on) - SHOWN} more"]
        others = sorted(set(expected[mixed.index].dropna()))
        beside = f", beside none on {'; '.join(others)}" if others else ""
        yield (
            f"Devices are mixed: {'; '.join(named_on)}{beside}. Seeds are paired all the same, but "
            "rounding differs between devices, and times are not compared."
        )


def _of_times(entries: pd.DataFrame) -> Iterator[str]:
    ratio, none = entries["epoch_vs_none"], entries["method"] == NONE
    if ratio.notna().any():
        yield (
            "Time: seconds of training per epoch (on a CPU those of the processor) as a multiple "
            "of none's, on the seeds that both ran on one machine; evaluation and what a method "
            "prepares before its first epoch are not in it."
        )
    known = entries["timed_on"].notna()
    timed = entries["setting"].isin(entries["setting"][none & known])
    apart = named(entries[timed & known & ~none & ratio.isna()])
    if len(apart):
        yield f"No seed timed on one machine with none's: {'; '.join(apart)}."


def _of_versions(entries: pd.DataFrame) -> Iterator[str]:
    older = entries[entries["tag"].notna() & ~entries["is_current"]]
    for outdated, what in (
        (True, "made by another version of the suite, and compared with entries of it alone"),
        (
            False,
            "of older code, settings or teacher than the entry that reads the same, and not among "
            "the methods that are corrected for",
        ),
    ):
        if tags := [f"#{tag}" for tag in older["tag"][older["is_outdated"] == outdated]]:
            yield f"{', '.join(tags)}: {what}."


def _metric(entries: pd.DataFrame) -> str:
    return rules.metric_of(entries)
