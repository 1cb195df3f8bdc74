"""What a leaderboard says about a results folder."""

import re

import numpy as np
import pytest
from scipy import stats

from bench import plan
from bench.errors import ConfigError
from bench.evaluation.metrics import parse_metric
from bench.records.record import failed
from bench.records.store import RECORD, ResultStore
from bench.registry import METHODS
from bench.reporting.leaderboard import leaderboard
from bench.reporting.render import render


def rows_of(bench, *metrics, **options):
    wanted = [parse_metric(name) for name in metrics or ("ndcg@20", "hr@20")]
    return leaderboard(bench.store, wanted, **options)


def the_row(rows, method, teacher="text", **matching):
    found = [row for row in rows if row.method == method and row.teacher == teacher]
    found = [row for row in found if all(getattr(row, k) == v for k, v in matching.items())]
    assert len(found) == 1
    return found[0]


def test_seeds_become_mean_and_sample_deviation(bench):
    keys = bench.done("none", seeds=[0, 1, 4])
    (row,) = rows_of(bench)
    values = [bench.store.get(key).metrics["test"]["hr@20"] for key in keys]
    assert row.seeds == [0, 1, 4]
    assert row.metrics["hr@20"].mean == pytest.approx(np.mean(values))
    assert row.metrics["hr@20"].std == pytest.approx(np.std(values, ddof=1))
    assert row.keys == keys
    assert row.gain == {}


def test_one_seed_has_no_deviation(bench):
    bench.done("none", seeds=1)
    assert rows_of(bench)[0].metrics["ndcg@20"].std is None


def test_a_metric_that_no_record_holds_comes_from_the_ranks(bench):
    (key,) = bench.done("none", seeds=1)
    (row,) = rows_of(bench, "hr@7", "mrr@50")
    ranks = bench.store.ranks(key)
    assert row.metrics["hr@7"].mean == pytest.approx((ranks <= 7).mean())
    assert row.metrics["mrr@50"].mean == pytest.approx(np.where(ranks <= 50, 1 / ranks, 0).mean())


def test_references_then_none_then_methods_best_first(bench):
    bench.done("none", skill=0.3)
    bench.done("ranking-only", skill=0.35)
    bench.done("dllm2rec", skill=0.4)
    bench.done("embedding-only", skill=0.2)
    bench.references()
    assert [row.method for row in rows_of(bench)] == [
        "popularity",
        "teacher",
        "none",
        "dllm2rec",
        "ranking-only",
        "embedding-only",
    ]


def test_difference_to_none_is_over_the_seeds_both_ran(bench):
    none = bench.done("none", seeds=[0, 1])
    ours = bench.done("dllm2rec", seeds=[0, 1, 2], skill=0.4)
    row = the_row(rows_of(bench), "dllm2rec")

    def mean(keys):
        return np.mean([bench.store.get(key).metrics["test"]["ndcg@20"] for key in keys])

    assert row.compared_seeds == [0, 1]
    assert row.gain["ndcg@20"] == pytest.approx(100 * (mean(ours[:2]) / mean(none) - 1))


def test_the_test_is_paired_by_row_and_clustered_by_user(bench):
    none, ours = bench.done("none"), bench.done("dllm2rec", skill=0.33)
    test = the_row(rows_of(bench), "dllm2rec").significance["hr@20"]
    difference = np.mean(
        [
            (bench.store.ranks(a) <= 20).astype(float) - (bench.store.ranks(b) <= 20)
            for a, b in zip(ours, none, strict=True)
        ],
        axis=0,
    )
    users = bench.data.test.user
    residual = [np.sum(difference[users == u] - difference.mean()) for u in np.unique(users)]
    n = len(residual)
    error = np.sqrt(n / (n - 1) * np.sum(np.square(residual))) / len(users)
    assert test.users == n
    assert test.difference == pytest.approx(difference.mean())
    assert test.p_users == pytest.approx(2 * stats.t.sf(difference.mean() / error, n - 1))


def test_p_holds_for_other_seeds_too_as_all_methods_of_the_cell_tell_them(bench):
    bench.done("none", skill=0.3)
    bench.done("ranking-only", seeds=1, skill=0.33)
    alone = the_row(rows_of(bench), "ranking-only").significance["hr@20"]
    assert not alone.knows_seeds and alone.p == alone.p_users < 0.05

    bench.done("dllm2rec", seeds=3, skill=0.33)
    one, three = (
        the_row(rows_of(bench), name).significance["hr@20"] for name in ("ranking-only", "dllm2rec")
    )
    assert one.knows_seeds and three.knows_seeds
    assert one.p > alone.p and three.p > three.p_users
    assert one.high - one.low > alone.high - alone.low
    assert one.difference == alone.difference


def test_without_two_seeds_of_anything_no_star_is_given(bench):
    bench.done("none", seeds=1, skill=0.3)
    bench.done("dllm2rec", seeds=1, skill=0.4)
    text = render(bench.store)
    assert "| <0.001 |" in text and "<0.001 *" not in text
    assert "p speaks for other users alone" in text
    bench.done("none", seeds=2, skill=0.3)
    bench.done("dllm2rec", seeds=2, skill=0.4)
    assert "p speaks for other users alone" not in render(bench.store)


def test_rows_of_different_seeds_are_told_as_such(bench):
    bench.done("none", seeds=3)
    bench.done("dllm2rec", seeds=3, skill=0.4)
    bench.done("none", student="gru4rec", seeds=2)
    bench.done("dllm2rec", student="gru4rec", seeds=2, skill=0.4)
    assert "Rows rest on different seeds" not in render(bench.store)
    bench.done("hint", seeds=2, skill=0.4)
    assert "Rows rest on different seeds" in render(bench.store)


def test_what_else_is_run_does_not_change_what_is_said_of_a_method(bench):
    """Controls, and methods of other students, are families of their own."""
    bench.done("none")
    bench.done("dllm2rec", skill=0.31)
    before = the_row(rows_of(bench), "dllm2rec").significance["hr@20"]
    assert before.p_holm == before.p
    bench.done("dllm2rec", seeds=1, control="shuffled", skill=0.31)
    bench.done("none", student="gru4rec")
    bench.done("ranking-only", student="gru4rec")
    after = the_row(rows_of(bench), "dllm2rec").significance["hr@20"]
    assert after.p_holm == after.p


def test_against_another_method_it_is_compared_and_tested_in_place_of_none(bench):
    bench.done("none", skill=0.3)
    theirs = bench.done("ranking-only", seeds=[0, 1], skill=0.35)
    ours = bench.done("dllm2rec", seeds=[1, 2], skill=0.4)
    bench.references()
    plain, rows = rows_of(bench, "hr@20"), rows_of(bench, "hr@20", against="ranking-only")
    row = the_row(rows, "dllm2rec")
    assert (row.against, row.compared_seeds) == ("ranking-only", [1])
    a, b = (bench.store.get(key).metrics["test"]["hr@20"] for key in (ours[0], theirs[1]))
    assert row.gain["hr@20"] == pytest.approx(100 * (a / b - 1))
    assert row.significance["hr@20"].difference == pytest.approx(a - b)
    assert the_row(rows, "none", None).gain["hr@20"] < 0
    assert the_row(rows, "ranking-only").gain == {}
    for method in ("ranking-only", "dllm2rec"):
        assert the_row(rows, method).gap_closed == the_row(plain, method).gap_closed != {}
    assert "vs ranking-only" in render(bench.store, against="ranking-only")


def test_against_a_method_the_same_teacher_and_the_plain_settings_come_first(bench):
    other = {"teacher": "other"}
    bench.done("ranking-only", skill=0.2)
    bench.done("ranking-only", skill=0.3, **other)
    bench.done("ranking-only", skill=0.6, overrides={"method.weight": 2}, method_settings={"w": 2})
    bench.done("dllm2rec", skill=0.4)
    bench.done("dllm2rec", skill=0.4, **other)
    bench.done("ranking-only", skill=0.1, teacher="text", control="shuffled")
    rows = rows_of(bench, against="ranking-only")
    mean = {(r.method_label, r.teacher): r.metrics["ndcg@20"].mean for r in rows}
    for teacher in ("text", "other"):
        expected = mean["dllm2rec", teacher] / mean["ranking-only", teacher] - 1
        gain = the_row(rows, "dllm2rec", teacher).gain["ndcg@20"]
        assert gain == pytest.approx(100 * expected)
    assert the_row(rows, "ranking-only", "text (shuffled)").gain["ndcg@20"] < 0
    assert the_row(rows, "ranking-only", overrides={"method.weight": 2}).gain["ndcg@20"] > 0


def test_against_a_method_no_other_teacher_stands_in(bench):
    bench.done("none")
    bench.done("ranking-only", teacher="one")
    bench.done("dllm2rec", teacher="two")
    rows = rows_of(bench, against="ranking-only")
    assert the_row(rows, "dllm2rec", "two").gain == {}
    assert the_row(rows, "none", None).gain != {}
    bench.done("ranking-only", teacher="three")
    assert the_row(rows_of(bench, against="ranking-only"), "none", None).gain == {}


def test_against_a_method_a_row_without_a_common_seed_is_passed_over(bench):
    bench.done("ranking-only", seeds=[0, 1], skill=0.3, method_settings={"weight": 1})
    bench.done("ranking-only", seeds=[7], skill=0.3)
    bench.done("dllm2rec", seeds=[1, 2], skill=0.4)
    assert the_row(rows_of(bench, against="ranking-only"), "dllm2rec").compared_seeds == [1]


def test_against_a_method_the_rows_of_records_show_what_they_are_compared_with(bench):
    bench.done("none")
    bench.done("ranking-only")
    bench.done("embedding-only")
    keys = bench.done("dllm2rec", skill=0.4)
    shown = rows_of(bench, against="ranking-only", keys=keys)
    assert [row.method for row in shown] == ["none", "dllm2rec", "ranking-only"]


def test_where_the_method_to_compare_with_did_not_run_the_table_says_so(bench, tmp_path):
    bench.done("none")
    bench.done("dllm2rec")
    bench.done("ranking-only", selection="oracle")
    text = render(bench.store, against="ranking-only")
    assert text.count("no row here has a counterpart of ranking-only") == 2
    bench.done("dllm2rec", selection="oracle")
    assert render(bench.store, against="ranking-only").count("no row here has") == 1
    nothing = ResultStore(tmp_path / "nothing")
    assert "No results yet" in render(nothing, against="ranking-only")


def test_gain_and_gap_closed_are_of_one_row_of_none(bench):
    bench.references()
    bench.done("none", skill=0.4)
    bench.done("none", skill=0.2, method_settings={"x": 1}, overrides={"method.x": 1})
    bench.done("dllm2rec", skill=0.3)
    row = the_row(rows_of(bench), "dllm2rec")
    assert (row.gain["ndcg@20"] > 0) == (row.gap_closed["ndcg@20"] > 0)


def test_a_method_to_compare_with_that_has_no_records_is_refused(bench):
    bench.done("none")
    bench.done("dllm2rec")
    with pytest.raises(ConfigError, match=r"unknown method to compare with 'dllm2rex'\. Did you"):
        rows_of(bench, against="dllm2rex")


def test_p_values_are_corrected_over_the_table_whatever_is_shown(bench):
    bench.done("none")
    bench.done("ranking-only", skill=0.30001)
    key = bench.done("dllm2rec", skill=0.31)[0]
    rows = rows_of(bench, "hr@1")
    tests = [row.significance["hr@1"] for row in rows if row.significance]
    smaller, larger = sorted(tests, key=lambda test: test.p)
    assert smaller.p_holm == pytest.approx(min(1, 2 * smaller.p))
    assert larger.p_holm == pytest.approx(max(smaller.p_holm, larger.p))
    alone = the_row(rows_of(bench, "hr@1", methods=["dllm2rec"]), "dllm2rec")
    ran = the_row(rows_of(bench, "hr@1", keys=[key]), "dllm2rec")
    assert alone == ran == the_row(rows, "dllm2rec")


def test_only_the_same_objective_and_training_are_compared(bench):
    bench.done("none", objective="bce", skill=0.1)
    bench.done("none", learning_rate=0.01, skill=0.2)
    bench.done("dllm2rec", skill=0.4)
    row = the_row(rows_of(bench), "dllm2rec")
    assert (row.gain, row.significance, row.gap_closed) == ({}, {}, {})
    bench.done("none", skill=0.3)
    assert the_row(rows_of(bench), "dllm2rec").gain["ndcg@20"] > 0
    assert len([row for row in rows_of(bench) if row.method == "none"]) == 3


def test_oracle_and_honest_rows_are_apart(bench):
    bench.references()
    bench.done("none", selection="oracle", skill=0.2)
    bench.done("dllm2rec", selection="oracle", skill=0.5)
    bench.done("dllm2rec", skill=0.4)
    rows = rows_of(bench)
    assert [(row.selection, row.method) for row in rows] == [
        ("validation", "popularity"),
        ("validation", "teacher"),
        ("validation", "dllm2rec"),
        ("oracle", "none"),
        ("oracle", "dllm2rec"),
    ]
    assert the_row(rows, "dllm2rec", selection="validation").gain == {}
    assert the_row(rows, "dllm2rec", selection="oracle").gain["ndcg@20"] > 0


def test_failures_are_counted_and_named(bench):
    bench.done("none")
    bench.done("dllm2rec", seeds=2)
    bench.fail("dllm2rec", seed=2, status="diverged", error="the loss is NaN")
    bench.fail("ranking-only", seed=0, status="out-of-memory", error="too big")
    partly, wholly = the_row(rows_of(bench), "dllm2rec"), the_row(rows_of(bench), "ranking-only")
    assert partly.seeds == [0, 1]
    assert [(f.seed, f.status, f.error) for f in partly.failures] == [
        (2, "diverged", "the loss is NaN")
    ]
    assert (wholly.seeds, wholly.metrics) == ([], {})
    assert wholly.failures[0].status == "out-of-memory"


def test_controls_and_variants_are_rows_of_their_own(bench):
    bench.done("none")
    bench.done("dllm2rec")
    bench.done("dllm2rec", control="shuffled", skill=0.2)
    bench.done("dllm2rec", teacher="raw-text")
    bench.done("dllm2rec", variant="paper")
    rows = rows_of(bench)
    assert the_row(rows, "dllm2rec", "text (shuffled)").gain["ndcg@20"] < 0
    assert the_row(rows, "dllm2rec", "raw-text").seeds == [0, 1, 2]
    assert the_row(rows, "dllm2rec:paper").variant == "paper"
    assert all(row.tag is None for row in rows)


def test_a_control_stands_beside_what_its_own_teacher_is_worth(bench):
    """Also where the row of that teacher carries a tag, as another build of it reads the same."""
    bench.done("none", skill=0.3)
    bench.done("dllm2rec", skill=0.4)
    bench.done("dllm2rec", skill=0.6, teacher_fingerprint="text-2")
    bench.done("dllm2rec", skill=0.2, control="shuffled")
    rows = rows_of(bench)
    first, second = sorted(
        (row for row in rows if row.teacher == "text"), key=lambda row: row.metrics["ndcg@20"].mean
    )
    control = the_row(rows, "dllm2rec", "text (shuffled)")
    assert first.tag and second.tag and not control.tag
    assert control.uncontrolled == first.uncontrolled != second.uncontrolled
    line = re.search(r"dllm2rec +\| text \(shuffled\).*", render(bench.store))[0]
    assert line.endswith(f"{first.gain['ndcg@20']:+.1f} % |")


def test_a_row_has_its_configured_name_where_one_of_its_runs_overrode_the_same(bench):
    bench.done("none")
    configured = {"method_settings": {"weight": 0.5}}
    bench.done("hint", [0], overrides={"method.weight": 0.5}, **configured)
    bench.done("hint", [1, 2], **configured)
    (row,) = (row for row in leaderboard(bench.store) if row.method == "hint")
    assert row.method_label == "hint" and row.seeds == [0, 1, 2]


def test_the_gap_is_that_of_the_rows_own_teacher(bench):
    bench.done("none")
    bench.done("dllm2rec", skill=0.4)
    bench.done("dllm2rec", skill=0.4, control="shuffled")
    bench.done("dllm2rec", skill=0.4, teacher="raw-text")
    bench.references(teacher_skill=0.6)
    rows = rows_of(bench)
    none, teacher = the_row(rows, "none", None), the_row(rows, "teacher")
    ours = the_row(rows, "dllm2rec")

    def value(row):
        return row.metrics["ndcg@20"].mean

    share = (value(ours) - value(none)) / (value(teacher) - value(none))
    assert ours.gap_closed["ndcg@20"] == pytest.approx(100 * share)
    assert the_row(rows, "dllm2rec", "raw-text").gap_closed == {}
    assert the_row(rows, "dllm2rec", "text (shuffled)").gap_closed == {}


@pytest.mark.parametrize("teacher_skill", [0.1, 0.51])
def test_no_gap_where_the_teacher_does_not_lead_or_may_do_so_by_chance(bench, teacher_skill):
    bench.done("none", skill=0.5)
    bench.done("dllm2rec", skill=0.6)
    bench.references(teacher_skill=teacher_skill)
    rows = rows_of(bench)
    assert the_row(rows, "dllm2rec").gap_closed == {}
    lead = (
        the_row(rows, "teacher").metrics["ndcg@20"].mean
        - the_row(rows, "none", None).metrics["ndcg@20"].mean
    )
    assert (lead > 0) is (teacher_skill > 0.5)


def test_results_of_other_code_are_told_apart(bench):
    bench.done("dllm2rec", seeds=2)
    bench.done("dllm2rec", seeds=1, method_code="1" * 64)
    rows = rows_of(bench)
    assert sorted(len(row.seeds) for row in rows) == [1, 2]
    assert len({row.method_label for row in rows}) == 2
    assert all("#" in row.method_label for row in rows)


def test_what_has_no_result_does_not_stand_in_for_what_has(bench):
    """As of settings that were tried, diverged, and were taken back."""
    bench.done("none", skill=0.3)
    bench.done("mine", skill=0.4)
    before = the_row(rows_of(bench), "mine")
    bench.store.write(failed(bench.trial("mine", 0, method_settings={"weight": 9}), "diverged", ""))
    done, lost = sorted(
        (row for row in rows_of(bench) if row.method == "mine"), key=lambda row: -len(row.seeds)
    )
    assert (done.current, lost.current) == (True, False) and lost.failures
    assert done.significance == before.significance


def test_a_method_that_was_edited_counts_once(bench):
    """Nobody can tell today's code of a plug-in that is not given: the newest is taken."""
    bench.done("none", skill=0.3)
    bench.done("mine", skill=0.31)
    bench.done("mine", skill=0.31, method_code="1" * 64)
    newest, older = sorted(
        (row for row in rows_of(bench) if row.method == "mine"), key=lambda row: not row.current
    )
    assert (newest.current, older.current) == (True, False)
    assert newest.created > older.created
    test = newest.significance["hr@20"]
    assert test.p_holm == test.p
    assert f"#{older.tag}: of older code, settings or teacher" in render(bench.store)


TODAY = METHODS.get("none").code_digest


def test_rows_are_compared_with_none_of_todays_code(bench):
    bench.done("dllm2rec", skill=0.4)
    bench.done("none", seeds=1, skill=0.3, method_code=TODAY)
    bench.done("none", seeds=3, skill=0.5)  # later, and more seeds, but of other code
    row = the_row(rows_of(bench), "dllm2rec")
    assert row.compared_seeds == [0]
    assert row.gain["ndcg@20"] > 0
    assert sorted(r.current for r in rows_of(bench) if r.method == "none") == [False, True]


def test_what_another_version_of_the_suite_made_stands_apart(bench, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(plan, "RESULTS_VERSION", plan.RESULTS_VERSION - 1)
        bench.done("none", skill=0.5)
        bench.done("dllm2rec", skill=0.4)
    bench.done("none", skill=0.3)
    bench.done("dllm2rec", skill=0.4)
    bench.done("rd", skill=0.32)
    old, new = (
        {row.method: row for row in rows_of(bench) if row.outdated is outdated}
        for outdated in (True, False)
    )
    assert old["dllm2rec"].gain["ndcg@20"] < 0 < new["dllm2rec"].gain["ndcg@20"]
    for rows, comparisons in ((old, 1), (new, 2)):
        test = rows["dllm2rec"].significance["ndcg@20"]
        assert test.p_holm == pytest.approx(min(1.0, comparisons * test.p))
    assert new["rd"].tag is None
    assert all(row.tag for row in old.values())
    text = render(bench.store)
    assert f"#{old['none'].tag}" in text
    assert "made by another version of the suite" in text


def test_a_version_between_does_not_blend_with_those_before(bench, monkeypatch):
    for back in (2, 1):
        with monkeypatch.context() as patch:
            patch.setattr(plan, "RESULTS_VERSION", plan.RESULTS_VERSION - back)
            bench.done("none", seeds=[back], skill=0.3)
    assert [row.seeds for row in rows_of(bench)] in ([[1], [2]], [[2], [1]])


def test_rows_are_compared_with_none_of_todays_suite(bench, monkeypatch):
    bench.done("dllm2rec", skill=0.4)
    bench.done("none", seeds=1, skill=0.3, method_code=TODAY)
    with monkeypatch.context() as patch:
        patch.setattr(plan, "RESULTS_VERSION", plan.RESULTS_VERSION - 1)
        bench.done("none", seeds=3, skill=0.5, method_code=TODAY)
    row = the_row(rows_of(bench), "dllm2rec")
    assert row.compared_seeds == [0]
    assert row.gain["ndcg@20"] > 0


def test_of_two_outdated_ones_the_newest_counts(bench):
    bench.done("dllm2rec", skill=0.4)
    bench.done("none", seeds=3, skill=0.5)
    (key,) = bench.done("none", seeds=1, skill=0.3, method_code="1" * 64)
    record = bench.store.get(key).model_copy(update={"created": "2999-01-01T00:00:00+00:00"})
    (bench.store.folder / key / RECORD).write_text(record.model_dump_json())
    assert the_row(rows_of(bench), "dllm2rec").gain["ndcg@20"] > 0


def test_none_that_only_failed_is_compared_with_nothing(bench):
    bench.done("dllm2rec", skill=0.4)
    bench.done("none", skill=0.3)
    bench.store.write(failed(bench.trial("none", 0, method_code=TODAY), "diverged", "NaN loss"))
    assert the_row(rows_of(bench), "dllm2rec").gain["ndcg@20"] > 0


def test_segments_keep_their_sizes(bench):
    bench.done("none")
    (row,) = rows_of(bench)
    assert sum(row.segments[name].rows for name in ("cold", "rare", "warm")) == row.test_rows
    assert row.segments["warm"].metrics["ndcg@20"].std > 0


def test_what_was_run_is_shown_with_its_none_and_references(bench):
    bench.references()
    bench.done("none")
    bench.done("none", objective="bce")
    bench.done("ranking-only")
    key = bench.done("dllm2rec")[0]
    shown = [(row.method, row.objective) for row in rows_of(bench, keys=[key])]
    assert shown == [("popularity", None), ("teacher", None), ("none", "ce"), ("dllm2rec", "ce")]


@pytest.mark.parametrize("damage", [None, b"", b"no array"])
def test_without_users_there_is_a_difference_but_no_test(bench, damage):
    path = bench.store.folder / "users" / f"{bench.data.fingerprint}.npy"
    path.unlink() if damage is None else path.write_bytes(damage)
    bench.done("none")
    bench.done("dllm2rec", skill=0.4)
    row = the_row(rows_of(bench), "dllm2rec")
    assert row.gain["ndcg@20"] > 0
    assert row.significance == {}
    assert "p: not known, as users/ is missing or damaged" in render(bench.store)


def test_a_cutoff_that_segments_do_not_hold_has_no_empty_table(bench):
    bench.done("none")
    assert "how often the target was a training target" in render(bench.store)
    assert "how often the target was" not in render(bench.store, metrics=["ndcg@50"])


def test_a_method_equal_to_none_is_not_significant(bench):
    bench.done("none", skill=0.3)
    bench.done("dllm2rec", skill=0.3)
    row = the_row(rows_of(bench), "dllm2rec")
    assert row.gain["ndcg@20"] == 0
    assert row.significance["ndcg@20"].p_holm == 1
