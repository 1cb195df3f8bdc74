"""The overview: every method's gains over all datasets and students."""

import pytest

from bench.reporting.overview import overview
from bench.reporting.render import render, selected
from tests.reporting.conftest import Bench, make_data

HEAD = ["Method", "Teacher"]


@pytest.fixture
def other(bench):
    """A second dataset in the same folder of results."""
    return Bench(bench.store.folder, make_data("other", "e" * 64))


def board(bench, **asked):
    return selected(bench.store, ["ndcg@20"], **asked)[0]


def section(bench, **asked):
    found = overview(board(bench, **asked))
    assert found is not None
    return found


def lines(bench, table=0, **asked):
    return section(bench, **asked).tables[table]


def cells(table):
    return {(line[0], line[1]): line[2:] for line in table.frame.to_numpy().tolist()}


def both(bench, other, *methods, **settings):
    for one in (bench, other):
        for method in methods:
            one.done(method, **settings)


def test_a_cell_is_what_the_leaderboard_of_its_dataset_says(bench, other):
    both(bench, other, "none")
    bench.done("a", skill=0.4)
    other.done("a", skill=0.2)
    table = lines(bench)
    assert list(table.frame.columns) == [*HEAD, "other sasrec", "toy sasrec"]
    found = board(bench).set_index(["method", "dataset"])["gain"]
    told = [f"{found['a', name]:+.1f} % *" for name in ("other", "toy")]
    assert cells(table)["a", "text"] == told
    assert told[0].startswith("-") and told[1].startswith("+")


def test_none_shows_the_metric_itself(bench, other):
    both(bench, other, "none", "a")
    first, *_ = lines(bench).frame.to_numpy().tolist()
    none = board(bench).set_index(["method", "dataset"]).loc["none", "other"]
    assert first[:2] == ["none", "–"]  # noqa: RUF001
    assert first[2].startswith(f"{none['mean']:.4f} ± ")


def test_what_did_not_run_is_missing_and_methods_of_more_cells_come_first(bench, other):
    both(bench, other, "none")
    both(bench, other, "everywhere", skill=0.31)
    both(bench, other, "better", skill=0.35)
    bench.done("here", skill=0.6)
    table = lines(bench)
    assert list(table.frame["Method"]) == ["none", "better", "everywhere", "here"]
    assert cells(table)["here", "text"][0] == "–"  # noqa: RUF001


def test_students_are_columns_and_teachers_are_rows(bench):
    for student in ("sasrec", "gru4rec"):
        bench.done("none", student=student)
        bench.done("a", student=student, skill=0.4)
    bench.done("a", teacher="other", skill=0.5)
    table = lines(bench)
    assert list(table.frame.columns) == [*HEAD, "toy gru4rec", "toy sasrec"]
    assert set(cells(table)) >= {("a", "text"), ("a", "other")}


def test_cells_that_share_dataset_and_student_are_told_apart(bench):
    for protocol in ("temporal-10", "leave-one-out"):
        bench.done("none", protocol=protocol)
        bench.done("a", protocol=protocol, skill=0.4)
    assert list(lines(bench).frame.columns) == [
        *HEAD,
        "toy leave-one-out sasrec",
        "toy temporal-10 sasrec",
    ]


def test_a_long_name_is_told_whole(bench):
    name = "amazon-industrial-and-scientific-supplies"
    for one in (bench, Bench(bench.store.folder, make_data(name, "e" * 64))):
        both(one, one, "none", "a")
    assert list(lines(bench).frame.columns) == [*HEAD, f"{name} sasrec", "toy sasrec"]


def test_objectives_and_data_of_one_student_are_told_apart(bench):
    for objective in ("bce", "ce"):
        bench.done("none", objective=objective)
        bench.done("a", objective=objective, skill=0.4)
    assert list(lines(bench).frame.columns) == [*HEAD, "toy sasrec bce", "toy sasrec ce"]
    both(bench, Bench(bench.store.folder, make_data("toy", "e" * 64)), "none", "a")
    told = [name.rpartition(" ")[0] for name in list(lines(bench).frame.columns)[2:]]
    at = "toy temporal-10 sasrec"
    assert sorted(told) == [f"{at} bce dddddddd", f"{at} ce dddddddd", f"{at} ce eeeeeeee"]


def test_columns_of_two_rules_for_seen_items_say_theirs(bench, other):
    both(bench, other, "none", "a")
    assert list(lines(bench).frame.columns) == [*HEAD, "other sasrec", "toy sasrec"]
    for method in ("none", "a"):
        other.done(method, student="gru4rec", seen="mask")
    columns = ["other gru4rec seen out", "other sasrec", "toy sasrec"]
    assert list(lines(bench).frame.columns) == [*HEAD, *columns]
    assert "where a column says `seen out`" in section(bench).intro


def test_controls_have_a_table_of_their_own(bench, other):
    both(bench, other, "none", "a")
    bench.done("a", control="shuffled", skill=0.2)
    taught, controls = (cells(lines(bench, table)) for table in (0, 1))
    assert ("a", "text (shuffled)") not in taught
    assert list(controls) == [("a", "text (shuffled)")]


def test_references_show_how_far_they_are_from_none(bench, other):
    for one in (bench, other):
        one.references(teacher_skill=0.6)
    both(bench, other, "none", "a")
    shown = cells(lines(bench))
    means = board(bench).groupby("method")["mean"].first()
    gain = f"{100 * (means['teacher'] / means['none'] - 1):+.1f} %"
    assert shown["teacher", "text"] == [gain, gain]
    gain = f"{100 * (means['popularity'] / means['none'] - 1):+.1f} %"
    assert shown["popularity", "–"] == [gain, gain]  # noqa: RUF001


def test_against_another_method_there_are_no_references(bench, other):
    for one in (bench, other):
        one.references()
    both(bench, other, "none", "a")
    both(bench, other, "b", skill=0.4)
    table = lines(bench, against="a")
    assert table.frame["Method"].iloc[0] == "a"
    intro = section(bench, against="a").intro
    assert "of an entry that has no such counterpart NDCG@20 itself" in intro
    assert not {line for line in cells(table) if line[0] in ("teacher", "popularity")}


def test_overrides_oracles_and_older_rows_stay_below(bench, other):
    bench.done("a", skill=0.6, method_code="1" * 64)
    both(bench, other, "none", "a")
    bench.done("a", skill=0.6, overrides={"method.x": 1}, method_settings={"x": 1})
    bench.done("none", selection="oracle")
    bench.done("a", skill=0.7, selection="oracle")
    shown = cells(lines(bench))
    assert set(shown) == {("none", "–"), ("a", "text")}  # noqa: RUF001
    assert shown["a", "text"] == ["+0.0 %", "+0.0 %"]


def test_one_cell_needs_no_overview(bench):
    bench.done("none")
    bench.done("a", skill=0.4)
    assert overview(board(bench)) is None
    assert "Overview" not in render(bench.store)


@pytest.mark.parametrize("name", ["markdown", "latex"])
def test_a_report_begins_with_it(bench, other, name):
    both(bench, other, "none", "a")
    text = render(bench.store, name)
    assert text.index("Overview") < text.index("Objective")
