"""Boards under both rules for items that users had before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.evaluation.metrics import TargetRanks, metrics_from_ranks, parse_metric, split_metrics
from bench.evaluation.segments import segment_metrics
from bench.evaluation.significance import compare_by_user
from bench.plan import Reference
from bench.records.frame import runs as runs_of
from bench.records.leaderboard import leaderboard
from bench.records.record import finished
from bench.reporting import rules
from bench.reporting.overview import overview
from bench.reporting.render import render, selected
from bench.reporting.tables import sections
from tests.reporting.conftest import Bench, make_data

NDCG = parse_metric("ndcg@20")


def both(ranks: np.ndarray, gain: float) -> TargetRanks:
    """Ranks and masked ones: the rank of every example is better by a share."""
    return TargetRanks(ranks, np.maximum(1, np.floor(ranks * (1 - gain))).astype(np.int32))


def write(
    bench: Bench, method: str, skill: float, gain: float, seen: str = "mask", seeds: int = 3, **more
) -> None:
    for seed in range(seeds):
        trial = bench.trial(method, seed, seen=seen, **more)
        outcome = bench.outcome(skill, seed)
        found = both(outcome.ranks, gain)
        outcome = replace(
            outcome,
            metrics=split_metrics(valid=found, test=found),
            segments=segment_metrics(found.under(seen), bench.data),
            masked_ranks=found.masked,
        )
        bench.store.write(finished(trial, outcome), outcome)


def reference(bench: Bench, name: str, skill: float, gain: float, teacher: str | None = None):
    record = Reference(
        name=name,
        dataset=bench.data.dataset,
        protocol=bench.data.protocol,
        data_fingerprint=bench.data.fingerprint,
        teacher_fingerprint=teacher,
    )
    outcome = bench.outcome(skill, 5)
    found = both(outcome.ranks, gain)
    assert found.masked is not None
    masked = segment_metrics(found.masked, bench.data)
    outcome = replace(
        outcome,
        metrics=split_metrics(valid=found, test=found),
        segments=segment_metrics(found.ranked, bench.data)
        | {f"{part}-masked": values for part, values in masked.items()},
        masked_ranks=found.masked,
        timings={},
        epochs=None,
    )
    bench.store.write(finished(record, outcome), outcome)
    return found


@pytest.fixture
def masked(bench: Bench) -> Bench:
    write(bench, "none", 0.3, gain=0.4)
    write(bench, "a", 0.5, gain=0.1)
    write(bench, "b", 0.45, gain=0.3)
    return bench


def line(bench: Bench, method: str, **asked):
    board = leaderboard(runs_of(bench.store.records(), bench.store.folder), **asked)
    return board[board["method"] == method].iloc[0]


def test_a_board_is_of_the_rule_that_chose_epochs_and_tells_the_other(masked: Bench) -> None:
    runs = runs_of(masked.store.records(), masked.store.folder)
    means = {
        (method, column): runs[runs["method"] == method][column].mean()
        for method in ("none", "a")
        for column in ("ndcg@20", "test-masked/ndcg@20")
    }
    found = line(masked, "a")
    assert found["seen"] == "mask"
    assert found["mean"] == pytest.approx(means["a", "test-masked/ndcg@20"])
    assert found["other_mean"] == pytest.approx(means["a", "ndcg@20"])
    for gain, column in (("gain", "test-masked/ndcg@20"), ("other_gain", "ndcg@20")):
        wanted = 100 * (means["a", column] / means["none", column] - 1)
        assert found[gain] == pytest.approx(wanted)


def test_tests_are_of_the_ranks_under_the_same_rule(masked: Bench) -> None:
    runs = runs_of(masked.store.records(), masked.store.folder)
    keys = {m: runs[runs["method"] == m].sort_values("seed")["key"] for m in ("none", "a")}
    values = {
        (method, rule): np.stack([NDCG.per_row(masked.store.ranks(key, rule)) for key in found])
        for method, found in keys.items()
        for rule in ("rank", "mask")
    }
    users = masked.data.test.user
    for split, rule in ((None, "mask"), ("test", "rank"), ("test-masked", "mask")):
        found = line(masked, "a", split=split)
        wanted = compare_by_user(values["a", rule], values["none", rule], users)
        assert wanted is not None
        assert found["p_users"] == pytest.approx(wanted.p)
        assert found["difference"] == pytest.approx(wanted.difference)


def test_a_cutoff_that_no_record_holds_is_read_from_ranks(masked: Bench) -> None:
    found = line(masked, "a", metric="ndcg@7")
    (key, *_) = [r.key for r in masked.store.records() if r.trial and r.trial.method == "a"]
    seven, values = parse_metric("ndcg@7"), []
    for record in masked.store.records():
        if record.trial and record.trial.method == "a":
            values.append(seven.per_row(masked.store.ranks(record.key, "mask")).mean())
    assert key and found["mean"] == pytest.approx(np.mean(values))


def test_baselines_and_teachers_are_read_under_the_rule_of_the_trials(masked: Bench) -> None:
    ranks = reference(masked, "popularity", 0.35, gain=0.5)
    reference(masked, "teacher:text", 0.6, gain=0.2, teacher="text-1")
    board, runs = selected(masked.store, ["ndcg@20"])
    (section,) = sections(board, runs)
    assert "without the items that the user had before" in section.intro
    frame = section.tables[0].frame
    assert list(frame.columns[5:]) == [
        "NDCG@20 seen out",
        "vs none seen out",
        "p",
        "Time",
        "NDCG@20",
        "vs none",
    ]
    row = frame[frame["Method"] == "popularity"].iloc[0]
    values = {rule: metrics_from_ranks(ranks.under(rule))["ndcg@20"] for rule in ("rank", "mask")}
    assert row["NDCG@20 seen out"] == f"{values['mask']:.4f}"
    assert row["NDCG@20"] == f"{values['rank']:.4f}"
    none = board[board["method"] == "none"].iloc[0]
    assert row["vs none seen out"] == f"{100 * (values['mask'] / none['mean'] - 1):+.1f} %"
    assert row["vs none"] == f"{100 * (values['rank'] / none['other_mean'] - 1):+.1f} %"
    for name in ("by interactions", "What it costs"):
        assert any(name in table.caption for table in section.tables)
    segment = next(t for t in section.tables if "by interactions" in t.caption).frame
    own = segment_metrics(ranks.under("mask"), masked.data)["interactions 50+"]
    if own["rows"]:
        cells = segment[segment["Method"] == "popularity"].iloc[0]
        assert cells[segment.columns[-1]] == f"{own['ndcg@20']:.4f}"


def test_two_rules_of_one_dataset_have_a_section_each(masked: Bench) -> None:
    reference(masked, "popularity", 0.35, gain=0.5)
    write(masked, "none", 0.3, gain=0.4, seen="rank")
    write(masked, "a", 0.5, gain=0.1, seen="rank")
    board, runs = selected(masked.store, ["ndcg@20", "hr@20"])
    assert not board["label"].str.contains("#").any()
    whole = sections(board, runs)
    assert {section.title.split(" · ")[2] for section in whole[2:]} == {
        "all items ranked",
        "seen items left out",
    }
    for section in whole[2:]:
        frame = section.tables[0].frame
        assert (frame["Method"] == "popularity").sum() == 1
    for format in ("markdown", "html", "latex", "csv", "json"):
        assert render(masked.store, format)


def test_where_the_rules_agree_one_of_them_is_shown(bench: Bench) -> None:
    write(bench, "none", 0.3, gain=0.0)
    write(bench, "a", 0.5, gain=0.0)
    assert "seen out" in render(bench.store)
    board, _ = selected(bench.store, ["ndcg@20"])
    assert not rules.differ(board)
    assert "NDCG@20 |" not in render(bench.store)


def test_the_overview_has_a_table_of_the_other_rule(bench: Bench) -> None:
    other = Bench(bench.store.folder, make_data("other", "e" * 64))
    for one in (bench, other):
        write(one, "none", 0.3, gain=0.4)
        write(one, "a", 0.5, gain=0.1)
    reference(bench, "popularity", 0.35, gain=0.5)
    board = selected(bench.store, ["ndcg@20"])[0]
    own, turned = overview(board), overview(board, other=True)
    assert own is not None and turned is not None
    for section, gain in ((own, "gain"), (turned, "other_gain")):
        frame = section.tables[0].frame.set_index("Method")
        told = board[(board["method"] == "a") & (board["dataset"] == "toy")][gain].iloc[0]
        assert frame.loc["a", "toy sasrec"].startswith(f"{told:+.1f} %")
    assert "ranked again" in turned.intro
    popular = board[board["method"] == "popularity"].iloc[0]
    none = board[(board["method"] == "none") & (board["dataset"] == "toy")].iloc[0]
    wanted = 100 * (popular["other_mean"] / none["mean"] - 1)
    cell = own.tables[0].frame.set_index("Method").loc["popularity", "toy sasrec"]
    assert cell == f"{wanted:+.1f} %"


def test_old_records_have_one_rule(bench: Bench) -> None:
    bench.done("none")
    bench.done("a", skill=0.5)
    bench.references()
    assert "seen out" not in render(bench.store)
    board, _ = selected(bench.store, ["ndcg@20"])
    assert board["other_mean"].isna().all() and board["gain"].notna().any()


def test_a_teacher_that_is_worse_than_the_student_is_told(masked: Bench) -> None:
    reference(masked, "teacher:text", 0.1, gain=0.4, teacher="text-1")
    reference(masked, "teacher:good", 0.8, gain=0.4, teacher="good-1")
    text = " ".join(render(masked.store).split())
    assert "The teacher text is worse than sasrec alone on validation (NDCG@20 seen out" in text
    assert "teacher good is worse" not in text
