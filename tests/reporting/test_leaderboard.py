"""What a leaderboard says about a results folder."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench import plan
from bench.errors import ConfigError
from bench.records.frame import runs
from bench.records.leaderboard import leaderboard
from bench.records.record import failed
from bench.records.store import RECORD, ResultStore
from bench.registry import METHODS
from bench.reporting.render import render, selected

from .conftest import MACHINE


def entries_of(bench, metric="ndcg@20", **options):
    board, _ = selected(bench.store, [metric], **options)
    return list(board.itertuples())


def the_entry(entries, method, teacher="text", control=None, **matching):
    wanted = {"method": method, "teacher": teacher, "control": control, **matching}
    found = [
        entry
        for entry in entries
        if all(
            pd.isna(getattr(entry, name)) if value is None else getattr(entry, name) == value
            for name, value in wanted.items()
        )
    ]
    assert len(found) == 1
    return found[0]


def of_store(store):
    return runs(store.records(), store.folder)


def seeds(text):
    return [int(seed) for seed in text.split()]


def test_seeds_become_mean_and_sample_deviation(bench):
    keys = bench.done("none", seeds=[0, 1, 4])
    (entry,) = entries_of(bench, "hr@20")
    values = [bench.store.get(key).metrics["test"]["hr@20"] for key in keys]
    assert seeds(entry.seeds) == [0, 1, 4]
    assert entry.mean == pytest.approx(np.mean(values))
    assert entry.std == pytest.approx(np.std(values, ddof=1))
    assert pd.isna(entry.gain)


def test_entries_that_mix_devices_are_told(bench):
    a100, h100 = ({**MACHINE, "device": "cuda", "device_name": name} for name in ("A100", "H100"))
    bench.done("none", seeds=2, environment=a100)
    bench.done("rd", seeds=2, environment=a100)
    assert "Devices are mixed" not in render(bench.store)
    bench.done("hint", seeds=[0], environment=a100)
    bench.done("hint", seeds=[1], environment=h100)
    bench.done("de", seeds=2, environment=h100)
    assert the_entry(entries_of(bench), "hint").devices == "A100 + H100"
    (told,) = [line for line in render(bench.store).splitlines() if "Devices are mixed" in line]
    assert "hint, teacher text on A100 + H100" in told and "de, teacher text on H100" in told
    assert "beside none on A100" in told and "rd" not in told.split("beside")[0]


def test_one_seed_has_no_deviation(bench):
    bench.done("none", seeds=1)
    assert pd.isna(entries_of(bench)[0].std)


def test_a_metric_that_no_record_holds_comes_from_the_ranks(bench):
    (key,) = bench.done("none", seeds=1)
    ranks = bench.store.ranks(key)
    for metric, expected in (
        ("hr@7", (ranks <= 7).mean()),
        ("mrr@50", np.where(ranks <= 50, 1 / ranks, 0).mean()),
    ):
        assert entries_of(bench, metric)[0].mean == pytest.approx(expected)


def test_references_then_none_then_methods_best_first(bench):
    bench.done("none", skill=0.3)
    bench.done("ranking-only", skill=0.35)
    bench.done("dllm2rec", skill=0.4)
    bench.done("embedding-only", skill=0.2)
    bench.references()
    assert [entry.method for entry in entries_of(bench)] == [
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
    entry = the_entry(entries_of(bench), "dllm2rec")

    def mean(keys):
        return np.mean([bench.store.get(key).metrics["test"]["ndcg@20"] for key in keys])

    assert seeds(entry.compared_seeds) == [0, 1]
    assert entry.gain == pytest.approx(100 * (mean(ours[:2]) / mean(none) - 1))


def test_the_test_is_paired_by_row_and_clustered_by_user(bench):
    none, ours = bench.done("none"), bench.done("dllm2rec", skill=0.33)
    test = the_entry(entries_of(bench, "hr@20"), "dllm2rec")
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
    alone = the_entry(entries_of(bench, "hr@20"), "ranking-only")
    assert not alone.seeds_known and alone.p == alone.p_users < 0.05

    bench.done("dllm2rec", seeds=3, skill=0.33)
    one, three = (
        the_entry(entries_of(bench, "hr@20"), name) for name in ("ranking-only", "dllm2rec")
    )
    assert one.seeds_known and three.seeds_known
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
    assert "Entries rest on different seeds" not in render(bench.store)
    bench.done("hint", seeds=2, skill=0.4)
    assert "Entries rest on different seeds" in render(bench.store)


def test_what_else_is_run_does_not_change_what_is_said_of_a_method(bench):
    """Controls, and methods of other students, are families of their own."""
    bench.done("none")
    bench.done("dllm2rec", skill=0.31)
    before = the_entry(entries_of(bench, "hr@20"), "dllm2rec")
    assert before.p_holm == before.p
    bench.done("dllm2rec", seeds=1, control="shuffled", skill=0.31)
    bench.done("none", student="gru4rec")
    bench.done("ranking-only", student="gru4rec")
    after = the_entry(entries_of(bench, "hr@20"), "dllm2rec")
    assert after.p_holm == after.p


def test_against_another_method_it_is_compared_and_tested_in_place_of_none(bench):
    bench.done("none", skill=0.3)
    theirs = bench.done("ranking-only", seeds=[0, 1], skill=0.35)
    ours = bench.done("dllm2rec", seeds=[1, 2], skill=0.4)
    bench.references()
    plain, entries = entries_of(bench, "hr@20"), entries_of(bench, "hr@20", against="ranking-only")
    entry = the_entry(entries, "dllm2rec")
    assert (entry.against, seeds(entry.compared_seeds)) == ("ranking-only", [1])
    a, b = (bench.store.get(key).metrics["test"]["hr@20"] for key in (ours[0], theirs[1]))
    assert entry.gain == pytest.approx(100 * (a / b - 1))
    assert entry.difference == pytest.approx(a - b)
    assert the_entry(entries, "none", None).gain < 0
    assert pd.isna(the_entry(entries, "ranking-only").gain)
    for method in ("ranking-only", "dllm2rec"):
        gaps = [the_entry(of, method).gap_closed for of in (entries, plain)]
        assert gaps[0] == gaps[1] and pd.notna(gaps[0])
    assert "vs ranking-only" in render(bench.store, against="ranking-only")


def test_against_a_method_the_same_teacher_and_the_plain_settings_come_first(bench):
    other = {"teacher": "other"}
    bench.done("ranking-only", skill=0.2)
    bench.done("ranking-only", skill=0.3, **other)
    bench.done("ranking-only", skill=0.6, overrides={"method.weight": 2}, method_settings={"w": 2})
    bench.done("dllm2rec", skill=0.4)
    bench.done("dllm2rec", skill=0.4, **other)
    bench.done("ranking-only", skill=0.1, teacher="text", control="shuffled")
    entries = entries_of(bench, against="ranking-only")
    mean = {(r.label, r.teacher): r.mean for r in entries if pd.isna(r.control)}
    for teacher in ("text", "other"):
        expected = mean["dllm2rec", teacher] / mean["ranking-only", teacher] - 1
        gain = the_entry(entries, "dllm2rec", teacher).gain
        assert gain == pytest.approx(100 * expected)
    assert the_entry(entries, "ranking-only", "text", "shuffled").gain < 0
    assert the_entry(entries, "ranking-only", overrides="method.weight=2").gain > 0


def test_against_a_method_no_other_teacher_stands_in(bench):
    bench.done("none")
    bench.done("ranking-only", teacher="one")
    bench.done("dllm2rec", teacher="two")
    entries = entries_of(bench, against="ranking-only")
    assert pd.isna(the_entry(entries, "dllm2rec", "two").gain)
    assert pd.notna(the_entry(entries, "none", None).gain)
    bench.done("ranking-only", teacher="three")
    assert pd.isna(the_entry(entries_of(bench, against="ranking-only"), "none", None).gain)


def test_against_a_method_a_row_without_a_common_seed_is_passed_over(bench):
    bench.done("ranking-only", seeds=[0, 1], skill=0.3, method_settings={"weight": 1})
    bench.done("ranking-only", seeds=[7], skill=0.3)
    bench.done("dllm2rec", seeds=[1, 2], skill=0.4)
    entry = the_entry(entries_of(bench, against="ranking-only"), "dllm2rec")
    assert seeds(entry.compared_seeds) == [1]


def test_against_a_method_the_rows_of_records_show_what_they_are_compared_with(bench):
    bench.done("none")
    bench.done("ranking-only")
    bench.done("embedding-only")
    keys = bench.done("dllm2rec", skill=0.4)
    shown = entries_of(bench, against="ranking-only", keys=keys)
    assert [entry.method for entry in shown] == ["none", "dllm2rec", "ranking-only"]


def test_where_the_method_to_compare_with_did_not_run_the_table_says_so(bench, tmp_path):
    bench.done("none")
    bench.done("dllm2rec")
    bench.done("ranking-only", selection="oracle")
    text = render(bench.store, against="ranking-only")
    assert text.count("no entry here has a counterpart of ranking-only") == 2
    bench.done("dllm2rec", selection="oracle")
    assert render(bench.store, against="ranking-only").count("no entry here has") == 1
    nothing = ResultStore(tmp_path / "nothing")
    assert "No results yet" in render(nothing, against="ranking-only")


def test_gain_and_gap_closed_are_of_one_row_of_none(bench):
    bench.references()
    bench.done("none", skill=0.4)
    bench.done("none", skill=0.2, method_settings={"x": 1}, overrides={"method.x": 1})
    bench.done("dllm2rec", skill=0.3)
    entry = the_entry(entries_of(bench), "dllm2rec")
    assert (entry.gain > 0) == (entry.gap_closed > 0)


def test_a_method_to_compare_with_that_has_no_records_is_refused(bench):
    bench.done("none")
    bench.done("dllm2rec")
    with pytest.raises(ConfigError, match=r"unknown method to compare with 'dllm2rex'\. Did you"):
        entries_of(bench, against="dllm2rex")


def test_p_values_are_corrected_over_the_table_whatever_is_shown(bench):
    bench.done("none")
    bench.done("ranking-only", skill=0.30001)
    key = bench.done("dllm2rec", skill=0.31)[0]
    entries = entries_of(bench, "hr@1")
    tests = [entry for entry in entries if pd.notna(entry.p)]
    smaller, larger = sorted(tests, key=lambda test: test.p)
    assert smaller.p_holm == pytest.approx(min(1, 2 * smaller.p))
    assert larger.p_holm == pytest.approx(max(smaller.p_holm, larger.p))
    alone = the_entry(entries_of(bench, "hr@1", methods=["dllm2rec"]), "dllm2rec")
    ran = the_entry(entries_of(bench, "hr@1", keys=[key]), "dllm2rec")
    for name in ("mean", "gain", "p", "p_holm"):
        of_all = getattr(the_entry(entries, "dllm2rec"), name)
        assert getattr(alone, name) == getattr(ran, name) == of_all


def test_only_the_same_objective_and_training_are_compared(bench):
    bench.done("none", objective="bce", skill=0.1)
    bench.done("none", learning_rate=0.01, skill=0.2)
    bench.done("dllm2rec", skill=0.4)
    entry = the_entry(entries_of(bench), "dllm2rec")
    assert pd.isna([entry.gain, entry.p, entry.gap_closed]).all()
    bench.done("none", skill=0.3)
    assert the_entry(entries_of(bench), "dllm2rec").gain > 0
    assert len([entry for entry in entries_of(bench) if entry.method == "none"]) == 3


def test_oracle_and_honest_rows_are_apart(bench):
    bench.references()
    bench.done("none", selection="oracle", skill=0.2)
    bench.done("dllm2rec", selection="oracle", skill=0.5)
    bench.done("dllm2rec", skill=0.4)
    entries = entries_of(bench)
    assert [(entry.selection, entry.method) for entry in entries] == [
        ("validation", "popularity"),
        ("validation", "teacher"),
        ("validation", "dllm2rec"),
        ("oracle", "none"),
        ("oracle", "dllm2rec"),
    ]
    assert pd.isna(the_entry(entries, "dllm2rec", selection="validation").gain)
    assert the_entry(entries, "dllm2rec", selection="oracle").gain > 0


def test_failures_are_counted_and_named(bench):
    bench.done("none")
    bench.done("dllm2rec", seeds=2)
    bench.fail("dllm2rec", seed=2, status="diverged", error="the loss is NaN")
    bench.fail("ranking-only", seed=0, status="out-of-memory", error="too big")
    found = entries_of(bench)
    partly, wholly = the_entry(found, "dllm2rec"), the_entry(found, "ranking-only")
    assert (seeds(partly.seeds), partly.failed) == ([0, 1], 1)
    assert (wholly.n, wholly.seeds, wholly.failed) == (0, "", 1) and pd.isna(wholly.mean)
    _, tried = selected(bench.store)
    lost = tried[tried["status"] != "done"].sort_values("seed", ascending=False)
    assert lost[["seed", "status", "error"]].to_numpy().tolist() == [
        [2, "diverged", "the loss is NaN"],
        [0, "out-of-memory", "too big"],
    ]


def test_controls_and_variants_are_rows_of_their_own(bench):
    bench.done("none")
    bench.done("dllm2rec")
    bench.done("dllm2rec", control="shuffled", skill=0.2)
    bench.done("dllm2rec", teacher="raw-text")
    bench.done("dllm2rec", variant="paper")
    entries = entries_of(bench)
    assert the_entry(entries, "dllm2rec", "text", "shuffled").gain < 0
    assert the_entry(entries, "dllm2rec", "raw-text").n == 3
    assert the_entry(entries, "dllm2rec:paper").variant == "paper"
    assert all(pd.isna(entry.tag) for entry in entries)


def test_a_control_stands_beside_what_its_own_teacher_is_worth(bench):
    """Also where the entry of that teacher carries a tag, as another build of it reads the same."""
    bench.done("none", skill=0.3)
    bench.done("dllm2rec", skill=0.4)
    bench.done("dllm2rec", skill=0.6, teacher_fingerprint="text-2")
    bench.done("dllm2rec", skill=0.2, control="shuffled")
    entries = entries_of(bench)
    first, second = sorted(
        (entry for entry in entries if entry.teacher == "text" and pd.isna(entry.control)),
        key=lambda entry: entry.mean,
    )
    control = the_entry(entries, "dllm2rec", "text", "shuffled")
    assert pd.notna([first.tag, second.tag]).all() and pd.isna(control.tag)
    assert control.counterpart == first.entry != second.entry
    line = re.search(r"dllm2rec +\| text \(shuffled\).*", render(bench.store))[0]
    assert line.endswith(f"{first.gain:+.1f} % |")


def test_a_row_has_its_configured_name_where_one_of_its_runs_overrode_the_same(bench):
    bench.done("none")
    configured = {"method_settings": {"weight": 0.5}}
    bench.done("hint", [0], overrides={"method.weight": 0.5}, **configured)
    bench.done("hint", [1, 2], **configured)
    (entry,) = (entry for entry in entries_of(bench) if entry.method == "hint")
    assert entry.label == "hint" and seeds(entry.seeds) == [0, 1, 2]


def test_the_gap_is_that_of_the_rows_own_teacher(bench):
    bench.done("none")
    bench.done("dllm2rec", skill=0.4)
    bench.done("dllm2rec", skill=0.4, control="shuffled")
    bench.done("dllm2rec", skill=0.4, teacher="raw-text")
    bench.references(teacher_skill=0.6)
    entries = entries_of(bench)
    none, teacher = the_entry(entries, "none", None), the_entry(entries, "teacher")
    ours = the_entry(entries, "dllm2rec")

    def value(entry):
        return entry.mean

    share = (value(ours) - value(none)) / (value(teacher) - value(none))
    assert ours.gap_closed == pytest.approx(100 * share)
    assert pd.isna(the_entry(entries, "dllm2rec", "raw-text").gap_closed)
    assert pd.isna(the_entry(entries, "dllm2rec", "text", "shuffled").gap_closed)


@pytest.mark.parametrize("teacher_skill", [0.1, 0.51])
def test_no_gap_where_the_teacher_does_not_lead_or_may_do_so_by_chance(bench, teacher_skill):
    bench.done("none", skill=0.5)
    bench.done("dllm2rec", skill=0.6)
    bench.references(teacher_skill=teacher_skill)
    entries = entries_of(bench)
    assert pd.isna(the_entry(entries, "dllm2rec").gap_closed)
    lead = the_entry(entries, "teacher").mean - the_entry(entries, "none", None).mean
    assert (lead > 0) is (teacher_skill > 0.5)


def test_results_of_other_code_are_told_apart(bench):
    bench.done("dllm2rec", seeds=2)
    bench.done("dllm2rec", seeds=1, method_code="1" * 64)
    entries = entries_of(bench)
    assert sorted(entry.n for entry in entries) == [1, 2]
    assert len({entry.label for entry in entries}) == 2
    assert all("#" in entry.label for entry in entries)


def test_what_has_no_result_does_not_stand_in_for_what_has(bench):
    """As of settings that were tried, diverged, and were taken back."""
    bench.done("none", skill=0.3)
    bench.done("mine", skill=0.4)
    before = the_entry(entries_of(bench), "mine")
    bench.store.write(failed(bench.trial("mine", 0, method_settings={"weight": 9}), "diverged", ""))
    done, lost = sorted(
        (entry for entry in entries_of(bench) if entry.method == "mine"), key=lambda entry: -entry.n
    )
    assert (done.is_current, lost.is_current) == (True, False) and lost.failed
    assert (done.p, done.p_holm) == (before.p, before.p_holm)


def test_a_method_that_was_edited_counts_once(bench):
    """Nobody can tell today's code of a plug-in that is not given: the newest is taken."""
    bench.done("none", skill=0.3)
    bench.done("mine", skill=0.31)
    bench.done("mine", skill=0.31, method_code="1" * 64)
    newest, older = sorted(
        (entry for entry in entries_of(bench) if entry.method == "mine"),
        key=lambda entry: not entry.is_current,
    )
    assert (newest.is_current, older.is_current) == (True, False)
    assert newest.created > older.created
    test = newest
    assert test.p_holm == test.p
    assert f"#{older.tag}: of older code, settings or teacher" in render(bench.store)


TODAY = METHODS.get("none").code_digest


def test_rows_are_compared_with_none_of_todays_code(bench):
    bench.done("dllm2rec", skill=0.4)
    bench.done("none", seeds=1, skill=0.3, method_code=TODAY)
    bench.done("none", seeds=3, skill=0.5)  # later, and more seeds, but of other code
    entry = the_entry(entries_of(bench), "dllm2rec")
    assert seeds(entry.compared_seeds) == [0]
    assert entry.gain > 0
    assert sorted(r.is_current for r in entries_of(bench) if r.method == "none") == [False, True]


def test_what_another_version_of_the_suite_made_stands_apart(bench, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(plan, "RESULTS_VERSION", plan.RESULTS_VERSION - 1)
        bench.done("none", skill=0.5)
        bench.done("dllm2rec", skill=0.4)
    bench.done("none", skill=0.3)
    bench.done("dllm2rec", skill=0.4)
    bench.done("rd", skill=0.32)
    old, new = (
        {entry.method: entry for entry in entries_of(bench) if entry.is_outdated is outdated}
        for outdated in (True, False)
    )
    assert old["dllm2rec"].gain < 0 < new["dllm2rec"].gain
    for entries, comparisons in ((old, 1), (new, 2)):
        test = entries["dllm2rec"]
        assert test.p_holm == pytest.approx(min(1.0, comparisons * test.p))
    assert pd.isna(new["rd"].tag)
    assert all(pd.notna(entry.tag) for entry in old.values())
    text = render(bench.store)
    assert f"#{old['none'].tag}" in text
    assert "made by another version of the suite" in text


def test_a_version_between_does_not_blend_with_those_before(bench, monkeypatch):
    for back in (2, 1):
        with monkeypatch.context() as patch:
            patch.setattr(plan, "RESULTS_VERSION", plan.RESULTS_VERSION - back)
            bench.done("none", seeds=[back], skill=0.3)
    assert sorted(entry.seeds for entry in entries_of(bench)) == ["1", "2"]


def test_rows_are_compared_with_none_of_todays_suite(bench, monkeypatch):
    bench.done("dllm2rec", skill=0.4)
    bench.done("none", seeds=1, skill=0.3, method_code=TODAY)
    with monkeypatch.context() as patch:
        patch.setattr(plan, "RESULTS_VERSION", plan.RESULTS_VERSION - 1)
        bench.done("none", seeds=3, skill=0.5, method_code=TODAY)
    entry = the_entry(entries_of(bench), "dllm2rec")
    assert seeds(entry.compared_seeds) == [0]
    assert entry.gain > 0


def test_of_two_outdated_ones_the_newest_counts(bench):
    bench.done("dllm2rec", skill=0.4)
    bench.done("none", seeds=3, skill=0.5)
    (key,) = bench.done("none", seeds=1, skill=0.3, method_code="1" * 64)
    record = bench.store.get(key).model_copy(update={"created": "2999-01-01T00:00:00+00:00"})
    (bench.store.folder / key / RECORD).write_text(record.model_dump_json())
    assert the_entry(entries_of(bench), "dllm2rec").gain > 0


def test_none_that_only_failed_is_compared_with_nothing(bench):
    bench.done("dllm2rec", skill=0.4)
    bench.done("none", skill=0.3)
    bench.store.write(failed(bench.trial("none", 0, method_code=TODAY), "diverged", "NaN loss"))
    assert the_entry(entries_of(bench), "dllm2rec").gain > 0


def test_segments_keep_their_sizes(bench):
    bench.done("none")
    frame = of_store(bench.store)
    sizes = frame[[f"{name}/examples" for name in ("cold", "rare", "warm")]].sum(axis=1)
    assert (sizes == frame["examples"]).all()
    assert leaderboard(frame, "ndcg@20", split="warm")["std"].iloc[0] > 0


def test_what_was_run_is_shown_with_its_none_and_references(bench):
    bench.references()
    bench.done("none")
    bench.done("none", objective="bce")
    bench.done("ranking-only")
    key = bench.done("dllm2rec")[0]
    shown = [
        (entry.method, "" if pd.isna(entry.objective) else entry.objective)
        for entry in entries_of(bench, keys=[key])
    ]
    assert shown == [("popularity", ""), ("teacher", ""), ("none", "ce"), ("dllm2rec", "ce")]


@pytest.mark.parametrize("damage", [None, b"", b"no array"])
def test_without_users_there_is_a_difference_but_no_test(bench, damage):
    path = bench.store.folder / "users" / f"{bench.data.fingerprint}.npy"
    path.unlink() if damage is None else path.write_bytes(damage)
    bench.done("none")
    bench.done("dllm2rec", skill=0.4)
    entry = the_entry(entries_of(bench), "dllm2rec")
    assert entry.gain > 0
    assert pd.isna(entry.p)
    assert "p: not known, as the users of the test examples" in render(bench.store)


def test_entries_that_lose_their_test_are_named(bench):
    """Two settings of one report, of which one has other test examples than its users say."""
    bench.done("none")
    bench.done("dllm2rec", skill=0.4)
    other = bench.data.fingerprint.replace("d", "e")
    bench.store.write_users(other, bench.data.test.user[:-1])
    for method in ("none", "hint"):
        bench.done(method, data_fingerprint=other, dataset="other")
    text = render(bench.store)
    assert text.count("p: not known") == 1 and "two-sided paired test" in text


def test_a_cutoff_that_segments_do_not_hold_has_no_empty_table(bench):
    bench.done("none")
    assert "by interactions with the target in training" in render(bench.store)
    assert "how often the target was" not in render(bench.store, metrics=["ndcg@50"])


def test_a_method_equal_to_none_is_not_significant(bench):
    bench.done("none", skill=0.3)
    bench.done("dllm2rec", skill=0.3)
    entry = the_entry(entries_of(bench), "dllm2rec")
    assert entry.gain == 0
    assert entry.p_holm == 1
