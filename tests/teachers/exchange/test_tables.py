"""Tables of lists find their rows by user and ordinal or target, and tell what they left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.data.examples import PreparedData
from bench.errors import ConfigError, DataError
from bench.teachers.knowledge import load_test_ranks
from bench.teachers.manifest import read_manifest

from ..conftest import N_ITEMS, N_ROWS, Folder, K
from .conftest import Desk, later


def lines(desk: Desk, rows: list[int], ids: np.ndarray, by: str, split: str = "train") -> Any:
    """A frame with a line per listed item, in order."""
    told, data = getattr(desk.data, split), desk.data
    repeat = np.repeat(rows, ids.shape[1])
    key = told.ordinal[repeat]
    if by == "target":
        key = [data.item_tokens[t - 1] for t in told.target[repeat]]
    return {
        "user_id": [data.user_tokens[u] for u in told.user[repeat]],
        by: key,
        "item_id": [data.item_tokens[i - 1] for i in ids.ravel()],
    }


@pytest.mark.parametrize("name", ["lists.csv", "lists.tsv.gz", "lists.parquet"])
def test_lists_by_ordinal(name: str, desk: Desk, folder: Folder) -> None:
    rows = np.random.default_rng(6).permutation(N_ROWS)[:100].tolist()
    frame = lines(desk, rows, folder.ids[rows], "ordinal")
    frame["score"] = 5 - folder.distances[rows].ravel()
    frame = pd.DataFrame(frame).sample(frac=1, random_state=0)
    report = desk.bring(desk.table(name, **frame.to_dict("list")))
    knowledge = desk.knowledge()
    assert sorted(np.flatnonzero(knowledge.covered).tolist()) == sorted(rows)
    np.testing.assert_array_equal(knowledge.rankings[rows], folder.ids[rows])
    expected = folder.distances[rows] - folder.distances[rows][:, :1]
    np.testing.assert_allclose(knowledge.distances[rows], expected, atol=1e-5)
    assert "100 of 240 training rows covered (41.7%)" in report
    assert "distance = best score of the list - score" in report


@pytest.mark.parametrize("by", ["rank", "distance"])
@pytest.mark.parametrize("index", ["shuffled", "filtered", "user"])
def test_a_parquet_table_is_read_by_position_whatever_its_index(
    index: str, by: str, desk: Desk, folder: Folder
) -> None:
    rows = list(range(50))
    frame = pd.DataFrame(lines(desk, rows, folder.ids[rows], "ordinal"))
    places = {"rank": np.tile(np.arange(1, K + 1), 50), "distance": folder.distances[rows].ravel()}
    frame[by] = places[by]
    frame = frame.sample(frac=1, random_state=0) if index == "shuffled" else frame.iloc[10 * K :]
    frame = frame.set_index("user_id") if index == "user" else frame
    frame.to_parquet(desk.foreign / "lists.parquet")
    desk.bring()
    kept = rows if index == "shuffled" else rows[10:]
    assert np.flatnonzero(desk.knowledge().covered).tolist() == kept
    np.testing.assert_array_equal(desk.knowledge().rankings[kept], folder.ids[kept])
    if by == "distance":
        np.testing.assert_array_equal(desk.knowledge().distances[kept], folder.distances[kept])


def test_scores_below_zero_of_lists_of_any_length(desk: Desk, folder: Folder) -> None:
    """As log-likelihoods are: what is behind the end of a list is not its best score."""
    frame = pd.DataFrame(lines(desk, [0, 1], folder.ids[:2], "ordinal"))
    frame["score"] = np.tile(-np.arange(1.0, K + 1), 2)
    desk.bring(desk.table("lists.csv", **frame.iloc[:-1].to_dict("list")), list_length=K - 1)
    expected = np.tile(np.arange(K - 1.0), (2, 1))
    np.testing.assert_array_equal(desk.knowledge().distances[:2], expected)


def unique_targets(data: PreparedData) -> list[int]:
    """Training rows whose (user, target) is that of no other row."""
    keys = Counter(
        (int(u), int(t))
        for rows in (data.train, data.valid, data.test)
        for u, t in zip(rows.user, rows.target, strict=True)
    )
    pairs = zip(data.train.user, data.train.target, strict=True)
    return [row for row, (u, t) in enumerate(pairs) if keys[int(u), int(t)] == 1]


def test_lists_by_target_in_the_order_of_their_ranks(desk: Desk, folder: Folder) -> None:
    rows = unique_targets(desk.data)[:50]
    assert len(rows) > 20
    frame = pd.DataFrame(lines(desk, rows, folder.ids[rows], "target"))
    frame["rank"] = np.tile(np.arange(1, K + 1), len(rows))
    frame["distance"] = folder.distances[rows].ravel()
    frame = frame.sample(frac=1, random_state=0)
    desk.bring(desk.table("lists.csv", **frame.to_dict("list")))
    np.testing.assert_array_equal(desk.knowledge().rankings[rows], folder.ids[rows])
    np.testing.assert_array_equal(desk.knowledge().distances[rows], folder.distances[rows])

    doubled = pd.DataFrame(
        lines(desk, range(N_ROWS), folder.ids, "target")  # type: ignore[arg-type]
    )
    table = desk.table("all.csv", **doubled.to_dict("list"))
    with pytest.raises(DataError, match=r"keys are those of several rows.*'ordinal'"):
        desk.bring(table, force=True)


def test_what_is_left_out_is_told(desk: Desk, folder: Folder) -> None:
    train = lines(desk, list(range(36)), folder.ids[:36], "ordinal")
    frame = pd.DataFrame(train)
    extra = frame.iloc[:1].assign(item_id=desk.data.item_tokens[_other(folder.ids[0]) - 1])
    frame = pd.concat([frame, extra])  # row 0 is longer
    frame = frame.drop(index=[K])  # row 1 is shorter
    frame.iloc[2 * K : 2 * K + 1, 2] = "stranger"  # row 2 names one that is none
    nobody = frame.iloc[-2 * K :].assign(user_id="nobody")
    ordinal = 10**6
    late = frame.iloc[-K:].assign(ordinal=ordinal)
    report = desk.bring(desk.table("lists.csv", **pd.concat([frame, nobody, late]).to_dict("list")))
    text = "\n".join(report)
    covered = np.flatnonzero(desk.knowledge().covered)
    assert covered.tolist() == [0, *range(3, 36)]
    np.testing.assert_array_equal(desk.knowledge().rankings[covered], folder.ids[covered])
    assert "1 longer ones cut" in text and "left out 2 lists that are shorter" in text
    assert "no token of toy (first: 'stranger')" in text and "left out 1 entries" in text
    assert "lists of no row" in text and "nobody" in text
    assert "34 of 240 training rows covered (14.2%)" in text


def _other(ids: np.ndarray) -> int:
    return next(item for item in range(1, N_ITEMS + 1) if item not in ids)


def test_an_item_that_is_listed_twice_counts_once(desk: Desk, folder: Folder) -> None:
    frame = pd.DataFrame(lines(desk, [0, 1, 2], folder.ids[:3], "ordinal"))
    again = frame.iloc[:1]
    report = desk.bring(desk.table("lists.csv", **pd.concat([frame, again]).to_dict("list")))
    np.testing.assert_array_equal(desk.knowledge().rankings[:3], folder.ids[:3])
    assert "left out 1 entries that repeat an item of their list" in report


def test_lists_of_evaluation_rows_measure_and_are_not_stored(desk: Desk) -> None:
    data = desk.data
    random = np.random.default_rng(7)
    frames = []
    listed = {}
    for split in ("train", "valid", "test"):
        rows = len(getattr(data, split))
        listed[split] = random.random((rows, N_ITEMS)).argsort(axis=1)[:, :20] + 1
        frames.append(pd.DataFrame(lines(desk, list(range(rows)), listed[split], "ordinal", split)))
    report = desk.bring(desk.table("lists.csv", **pd.concat(frames).to_dict("list")))
    np.testing.assert_array_equal(desk.knowledge().rankings, listed["train"])
    assert len(np.load(desk.folder / "rankings.npy")) == N_ROWS
    assert any("240 of train rows, 60 of valid rows, 60 of test rows" in line for line in report)
    hit = listed["test"] == data.test.target[:, None]
    expected = np.where(hit.any(1), hit.argmax(1) + 1, N_ITEMS)
    np.testing.assert_array_equal(load_test_ranks(desk.folder, data).ranked, expected)
    metrics = read_manifest(desk.folder).metrics
    assert metrics["test"]["hr@20"] == pytest.approx(hit.any(1).mean())
    hit = listed["valid"] == data.valid.target[:, None]
    assert metrics["valid"]["hr@5"] == pytest.approx(hit[:, :5].any(1).mean())
    assert "of lists of 20 items, and told up to that K." in read_manifest(desk.folder).notes[0]


def lists_of_test(desk: Desk, size: int) -> tuple[pd.DataFrame, np.ndarray]:
    rows = len(desk.data.test)
    ids = np.random.default_rng(9).random((rows, N_ITEMS)).argsort(axis=1)[:, :size] + 1
    return pd.DataFrame(lines(desk, list(range(rows)), ids, "ordinal", "test")), ids


@pytest.mark.parametrize("base", [0, 1])
def test_lists_of_test_rows_come_as_an_array(desk: Desk, base: int) -> None:
    """The same metrics and ranks as those of the table, with -1 where a list ends."""
    frame, ids = lists_of_test(desk, 10)
    frame = frame.drop(index=range(5, 10))
    desk.bring(desk.table("lists.csv", **frame.to_dict("list")))
    expected = read_manifest(desk.folder).metrics, load_test_ranks(desk.folder, desk.data).ranked
    array = ids - 1 + base
    array[0, 5:] = -1
    path = desk.foreign / "test_rankings.npy"
    np.save(path, array)
    report = desk.bring(str(path), force=True, id_base=base)
    assert read_manifest(desk.folder).metrics == expected[0]
    np.testing.assert_array_equal(load_test_ranks(desk.folder, desk.data).ranked, expected[1])
    assert any("1 are shorter, and end in misses" in line for line in report)
    np.save(path, array[1:])
    with pytest.raises(DataError, match=r"test_rankings.npy has shape .*, expected \[60, K\]"):
        desk.bring(str(path), force=True, id_base=base)


def test_lists_of_test_rows_alone_are_a_teacher_that_a_board_shows(desk: Desk) -> None:
    """As published rankings come: of 10 items, some lists shorter, one of strangers alone."""
    frame, ids = lists_of_test(desk, 10)
    rows = len(ids)
    frame = frame.drop(index=range(5, 10))  # the first list has 5 items
    frame.loc[10:19, "item_id"] = "stranger"  # the second has none that the catalogue knows
    report = desk.bring(desk.table("lists.csv", **frame.to_dict("list")))
    ids[0, 5:], ids[1] = 0, 0
    hit = ids == desk.data.test.target[:, None]
    place = np.where(hit.any(1), hit.argmax(1) + 1, N_ITEMS)
    np.testing.assert_array_equal(load_test_ranks(desk.folder, desk.data).ranked, place)
    manifest = read_manifest(desk.folder)
    assert (manifest.signals, manifest.test_places) == ([], 10)
    assert manifest.metrics["test"]["hr@10"] == pytest.approx(hit.any(1).mean())
    assert {name.split("@")[1] for name in manifest.metrics["test"]} == {"1", "5", "10"}
    assert "0 of 240 training rows covered (0.0%)" in report
    assert any("2 are shorter, and end in misses" in line for line in report)
    # Other lists are another teacher, though no method reads them.
    other = frame.iloc[::-1].assign(rank=1 + frame.groupby(["user_id", "ordinal"]).cumcount()[::-1])
    other["item_id"] = np.roll(frame["item_id"], 3)
    desk.bring(desk.table("other.csv", **other.to_dict("list")), force=True)
    assert read_manifest(desk.folder).fingerprint != manifest.fingerprint

    few = frame[frame["user_id"] != frame["user_id"].iloc[-1]]
    with pytest.raises(
        DataError, match=rf"no metrics on test: \d+ of its {rows} rows have no list"
    ):
        desk.bring(desk.table("few.csv", **few.to_dict("list")), force=True)


def test_a_list_per_user_is_that_of_its_one_test_row(make_data: Any, tmp_path: Path) -> None:
    data = later(make_data())
    alone = np.unique(data.test.user, return_index=True)[1]
    columns = {name: getattr(data.test, name)[alone] for name in vars(data.test)}
    desk = Desk(tmp_path, replace(data, test=replace(data.test, **columns)))
    frame, ids = lists_of_test(desk, 3)
    report = desk.bring(desk.table("lists.csv", **frame.drop(columns="ordinal").to_dict("list")))
    hit = ids == desk.data.test.target[:, None]
    place = np.where(hit.any(1), hit.argmax(1) + 1, N_ITEMS)
    np.testing.assert_array_equal(load_test_ranks(desk.folder, desk.data).ranked, place)
    assert f"{len(alone)} lists by user: 0 of train rows, 0 of valid rows" in "\n".join(report)


def test_integers_that_could_be_tokens_or_ids(make_data: Any, tmp_path: Path) -> None:
    data = later(make_data(item_tokens=[str(index) for index in range(N_ITEMS, 0, -1)]))
    desk = Desk(tmp_path, data)
    ids = np.random.default_rng(8).random((N_ROWS, N_ITEMS)).argsort(axis=1)[:, :3] + 1
    frame = lines(desk, list(range(N_ROWS)), ids, "ordinal")
    table = desk.table("lists.csv", **frame)
    assert "--item-key token or --item-key id" in desk.refused(table, kind=ConfigError)
    desk.bring(table, item_key="token")
    np.testing.assert_array_equal(desk.knowledge().rankings, ids)
    report = desk.bring(table, item_key="id", force=True)  # token t is item 31 - t
    np.testing.assert_array_equal(desk.knowledge().rankings, N_ITEMS + 1 - ids)
    assert any("count from 1, since 30 occurs" in line for line in report)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"user": ["u0"], "item": ["i0"]}, {}, "no column for ordinal or target"),
        ({"ordinal": [4], "target": ["i0"]}, {}, "no column for user and item"),
        ({"user": ["u0"], "ordinal": [4], "item": ["i0"], "value": [1]}, {}, "--value distance or"),
        (
            {"user": ["u0"], "ordinal": [4], "item": ["i0"], "score": [1], "distance": [1]},
            {},
            "both 'distance' and 'score'",
        ),
        (
            {"user": ["u0"], "ordinal": [4], "item": ["i0"], "score": [1]},
            {"value": "distance"},
            "--value distance, but its column is 'score'",
        ),
        (
            {"user": ["u0"], "ordinal": [4], "item": ["i99"]},
            {},
            "no row has a list of items that the catalogue knows: 'i99', the first, is no "
            "token of toy",
        ),
        (
            {"user": ["u0", "u0"], "ordinal": [204, 4], "item": ["i0", "i99"]},
            {},
            "no row has a list of items that the catalogue knows: 'i99'",
        ),
        (
            {"user": ["u77"], "ordinal": [4], "item": ["i0"]},
            {},
            "no list is that of a row of toy",
        ),
        ({"user": ["u0"], "ordinal": ["x"], "item": ["i0"]}, {}, "'x' is not a number"),
        ({"user": ["u0"], "ordinal": [4], "item": ["i0"]}, {"list_length": 2}, "no list has 2"),
    ],
)
def test_tables_that_tell_no_lists(
    columns: dict[str, list[Any]], options: dict[str, Any], message: str, desk: Desk
) -> None:
    assert message in desk.refused(desk.table("lists.csv", **columns), **options)


def test_ordinals_that_count_from_1_or_are_no_numbers_are_refused(
    desk: Desk, folder: Folder
) -> None:
    rows = list(range(N_ROWS))
    frame = lines(desk, rows, folder.ids, "ordinal")
    for base, mended in ((1, "Subtract 1"), (2, "Subtract 2"), (-1, "Add 1")):
        with pytest.raises(DataError, match=rf"seem to count from {base}: .*{mended}, or name"):
            desk.bring(desk.table("one.csv", **{**frame, "ordinal": frame["ordinal"] + base}))
    with pytest.raises(DataError, match=r"row 1: ordinal '\d+\.5' is no whole number"):
        desk.bring(desk.table("half.csv", **{**frame, "ordinal": frame["ordinal"] + 0.5}))


def test_tied_ranks_are_ordered_by_distance_or_refused(desk: Desk, folder: Folder) -> None:
    rows = list(range(10))
    frame = lines(desk, rows, folder.ids[rows], "ordinal")
    frame["rank"] = np.tile(np.arange(K) // 2, 10)
    with pytest.raises(DataError, match=r"row 2: rank 0 stands twice in a list of user"):
        desk.bring(desk.table("ties.csv", **frame))
    desk.bring(desk.table("told.csv", **frame, distance=folder.distances[rows].ravel()))
    np.testing.assert_array_equal(desk.knowledge().rankings[rows], folder.ids[rows])
