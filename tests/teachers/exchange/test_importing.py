"""What others made arrives as they meant it, item by item and row by row, or not at all."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from bench.data.rows import PreparedData
from bench.errors import ArtifactError, BenchError, ConfigError, DataError
from bench.paths import Workspace
from bench.teachers.contract import check
from bench.teachers.exchange.exporting import export_dllm2rec
from bench.teachers.exchange.given import Request
from bench.teachers.exchange.importing import import_teacher
from bench.teachers.exchange.naming import find_base
from bench.teachers.knowledge import load_knowledge, load_test_ranks
from bench.teachers.manifest import read_manifest
from bench.teachers.rows import preference
from bench.teachers.summary import summarise

from ..conftest import N_ITEMS, N_ROWS, Folder, K

PUBLISHED = ("all_embeddings.pt", "myrank_train.txt", "confidence_train.txt")


class Desk:
    """Where a test puts foreign files and finds the teacher that they become."""

    def __init__(self, home: Path, data: PreparedData) -> None:
        self.home, self.data = home, data
        self.folder = home / "tocf" / "toy" / "mine"
        self.foreign = home / "foreign"
        self.foreign.mkdir()

    def bring(self, *paths: str | Path, force: bool = False, **options: Any) -> list[str]:
        request = Request([str(path) for path in paths or [self.foreign]], **options)
        return import_teacher(
            "mine", request, self.data, Workspace(self.home), self.folder, lambda line: None, force
        )

    def refused(self, *paths: str | Path, kind: type = BenchError, **options: Any) -> str:
        with pytest.raises(kind) as caught:
            self.bring(*paths, **options)
        assert not self.folder.exists()
        left = [p.name for p in self.folder.parent.glob("*") if not p.name.endswith(".lock")]
        assert left == []
        return str(caught.value)

    def table(self, name: str, **columns: Any) -> Path:
        path, frame = self.foreign / name, pd.DataFrame(columns)
        if name.endswith(".parquet"):
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, sep="," if ".csv" in name else "\t")
        return path

    def knowledge(self) -> Any:
        return load_knowledge(self.folder, self.data)


def _later(data: PreparedData) -> PreparedData:
    """The data with ordinals as they are in earnest: no two rows of a user have the same."""
    valid = replace(data.valid, ordinal=data.valid.ordinal + 100)
    return replace(data, valid=valid, test=replace(data.test, ordinal=data.test.ordinal + 200))


@pytest.fixture
def desk(tmp_path: Path, data: PreparedData) -> Desk:
    return Desk(tmp_path, _later(data))


# -- the published layout ------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(draw=st.data(), half=st.booleans(), size=st.integers(1, N_ITEMS))
def test_import_and_export_of_the_published_layout_is_the_identity(
    draw: st.DataObject, half: bool, size: int, toy: PreparedData
) -> None:
    random = np.random.default_rng(draw.draw(st.integers(0, 2**32)))
    ids = random.random((N_ROWS, N_ITEMS)).argsort(axis=1)[:, :size]
    ids[0, 0], ids[0, 1:] = 0, random.permutation(np.arange(1, N_ITEMS))[: size - 1]
    scale = 10.0 ** draw.draw(st.integers(-6, 6))
    distances = np.sort(random.random((N_ROWS, size)) * scale, axis=1).astype(np.float32)
    table = torch.randn(N_ITEMS, 3).to(torch.float16 if half else torch.float32)
    with tempfile.TemporaryDirectory() as place:
        desk = Desk(Path(place), toy)
        torch.save(table, desk.foreign / PUBLISHED[0])
        np.savetxt(desk.foreign / PUBLISHED[1], ids, fmt="%d")
        np.savetxt(desk.foreign / PUBLISHED[2], distances, fmt="%.9g")
        desk.bring()
        back = Path(place) / "back"
        export_dllm2rec(desk.folder, toy, back, lambda line: None)
        for name in PUBLISHED[1:]:
            assert (back / name).read_bytes() == (desk.foreign / name).read_bytes()
        again = torch.load(back / PUBLISHED[0], weights_only=True)
        assert again.dtype == table.dtype and torch.equal(again, table)
        told = np.loadtxt(back / PUBLISHED[2], ndmin=2).astype(np.float32)
        np.testing.assert_array_equal(told, distances)
        assert load_knowledge(back, toy).rankings.equal(desk.knowledge().rankings)

        first = read_manifest(desk.folder).fingerprint
        desk.bring(back, force=True)
        assert read_manifest(desk.folder).fingerprint == first


def test_published_files_as_numpy_writes_them(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    report = desk.bring(folder.published())
    knowledge = desk.knowledge()
    np.testing.assert_array_equal(knowledge.rankings, folder.ids)
    np.testing.assert_array_equal(knowledge.distances, folder.distances)
    np.testing.assert_array_equal(knowledge.embeddings[1:], folder.embeddings)
    assert any("count from 0, since 0 occurs" in line for line in report)
    assert any("240 of 240 training rows covered" in line for line in report)
    manifest = read_manifest(desk.folder)
    assert manifest.catalogue_fingerprint == "catalogue-a"
    assert manifest.split_fingerprint == "split-a"
    assert manifest.recipe["sources"]["rankings"]["name"] == "myrank_train.txt"
    assert len(manifest.recipe["sources"]["embeddings"]["sha256"]) == 64
    assert manifest.recipe["report"] == report
    assert any("order of the training rows" in note for note in manifest.notes)
    assert not list(desk.foreign.glob(".*"))  # nothing is left beside the sources


def test_ids_from_one_are_found_and_exported_from_zero(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    report = desk.bring(folder.published(base=1))
    np.testing.assert_array_equal(desk.knowledge().rankings, folder.ids)
    assert any("count from 1, since 30 occurs" in line for line in report)
    for base in (0, 1):
        out = desk.home / f"out{base}"
        export_dllm2rec(desk.folder, desk.data, out, lambda line: None, base)
        np.testing.assert_array_equal(np.loadtxt(out / PUBLISHED[1]), folder.ids - 1 + base)
        assert load_knowledge(out, desk.data).rankings.equal(desk.knowledge().rankings)


def test_a_base_of_no_ids() -> None:
    with pytest.raises(DataError, match="lists of x hold no ids"):
        find_base(np.zeros((0, 5)), 10, 1, "lists of x")


def test_an_ambiguous_base_is_asked_for(desk: Desk) -> None:
    ids = np.random.default_rng(0).random((N_ROWS, N_ITEMS - 1)).argsort(axis=1)[:, :K] + 1
    np.save(desk.foreign / "rankings.npy", ids)
    assert "--id-base 0 or --id-base 1" in desk.refused(kind=ConfigError)
    for base in (0, 1):
        desk.bring(id_base=base, force=True)
        np.testing.assert_array_equal(desk.knowledge().rankings, ids + 1 - base)
        assert summarise(check(desk.folder, desk.data), desk.data)["doubts"] == []


@given(
    ids=st.lists(st.integers(-2, 12), min_size=1),
    size=st.integers(1, 10),
    given_base=st.sampled_from([None, 0, 1]),
)
def test_a_base_is_told_only_where_it_is_certain(
    ids: list[int], size: int, given_base: int | None
) -> None:
    possible = [base for base in (0, 1) if all(0 <= i - base < size for i in ids)]
    allowed = [base for base in possible if given_base in (None, base)]
    try:
        base, why = find_base(np.array(ids), size, given_base, "lists")
    except DataError:
        assert not allowed
    except ConfigError:
        assert allowed == [0, 1]
    else:
        assert allowed == [base]
        assert f"count from {base}" in why


# -- BIGRec's arrays -----------------------------------------------------------------------------


def expected_lists(dist: np.ndarray, data: PreparedData, length: int) -> list[list[int]]:
    """One sort of Python: by distance, then popularity, then token."""
    count = Counter(data.train.target.tolist())
    return [
        sorted(
            range(1, N_ITEMS + 1),
            key=lambda i, row=row: (row[i - 1], -count[i], data.item_tokens[i - 1]),
        )[:length]
        for row in dist.tolist()
    ]


@pytest.fixture
def dist() -> np.ndarray:
    """Distances [R, N] in catalogue order with many ties, as of duplicate titles."""
    return np.random.default_rng(1).integers(0, 9, (N_ROWS, N_ITEMS)).astype(np.float32)


@pytest.mark.parametrize("given_as", ["dist", "both", "half"])
def test_distances_of_the_whole_catalogue(desk: Desk, dist: np.ndarray, given_as: str) -> None:
    if given_as == "half":
        torch.save(torch.from_numpy(dist).half(), desk.foreign / "dist.pt")
    else:
        np.save(desk.foreign / "dist.npy", dist)
    if given_as == "both":
        torch.save(torch.from_numpy(dist.argsort(1).argsort(1)), desk.foreign / "rank.pt")
    desk.bring(list_length=7)
    knowledge = desk.knowledge()
    assert knowledge.rankings.tolist() == expected_lists(dist, desk.data, 7)
    np.testing.assert_array_equal(knowledge.distances, np.sort(dist, axis=1)[:, :7])


@pytest.mark.parametrize("base", [0, 1])
def test_ranks_of_the_whole_catalogue(desk: Desk, base: int) -> None:
    dist = np.random.default_rng(2).random((N_ROWS, N_ITEMS))
    np.save(desk.foreign / "rank.npy", dist.argsort(1).argsort(1) + base)
    desk.bring()
    assert desk.knowledge().rankings.tolist() == expected_lists(dist, desk.data, N_ITEMS)
    assert desk.knowledge().distances is None


def test_arrays_in_blocks(desk: Desk, dist: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.teachers.exchange.values.BLOCK_VALUES", 7 * N_ITEMS + 1)
    np.save(desk.foreign / "dist.npy", dist)
    desk.bring()
    assert desk.knowledge().rankings.tolist() == expected_lists(dist, desk.data, N_ITEMS)


def test_arrays_in_an_order_of_their_own(desk: Desk, dist: np.ndarray, folder: Folder) -> None:
    """Columns, embeddings and ids are all places in the order of the file."""
    order = np.random.default_rng(3).permutation(N_ITEMS)
    tokens = [*(desk.data.item_tokens[i] for i in order), "of another shop"]
    (desk.home / "order.txt").write_text("\n".join(tokens) + "\n")
    extra = np.full((N_ROWS, 1), -1, dtype=np.float32)  # the best of all, and no item here
    np.save(desk.foreign / "dist.npy", np.hstack([dist[:, order], extra]))
    table = np.vstack([folder.embeddings[order], folder.embeddings[:1]])
    np.save(desk.foreign / "embeddings.npy", table)
    report = desk.bring(items=desk.home / "order.txt")
    assert desk.knowledge().rankings.tolist() == expected_lists(dist, desk.data, N_ITEMS)
    np.testing.assert_array_equal(desk.knowledge().embeddings[1:], folder.embeddings)
    assert any("1 of them are no items of toy" in line for line in report)

    (desk.foreign / "dist.npy").unlink()
    ids = np.argsort(np.append(order, N_ITEMS))[folder.ids - 1]
    ids[4, 2] = N_ITEMS  # the foreign item: its list is shorter by one
    np.save(desk.foreign / "rankings.npy", ids)
    report = desk.bring(items=desk.home / "order.txt", force=True)
    covered = desk.knowledge().covered
    assert covered.tolist() == [row != 4 for row in range(N_ROWS)]
    np.testing.assert_array_equal(desk.knowledge().rankings[covered], np.delete(folder.ids, 4, 0))
    assert "left out 1 lists that are shorter" in report

    np.save(desk.foreign / "rankings.npy", np.full((N_ROWS, 1), N_ITEMS))
    with pytest.raises(DataError, match=r"rankings\.npy: no training row has a list of items"):
        desk.bring(items=desk.home / "order.txt", id_base=0, force=True)


def test_titles_that_repeat_tie_by_popularity_and_token(make_data: Any, tmp_path: Path) -> None:
    texts = [f"Tom &amp; no  {index // 2}" for index in range(N_ITEMS)]
    data = _later(make_data(item_texts=[f"Tom & no {index // 2}" for index in range(N_ITEMS)]))
    desk = Desk(tmp_path, data)
    (tmp_path / "id2title.txt").write_text("\n".join(texts))
    half = np.random.default_rng(4).random((N_ROWS, N_ITEMS // 2))
    dist = np.repeat(half, 2, axis=1)
    np.save(desk.foreign / "dist.npy", dist)
    report = desk.bring(items=tmp_path / "id2title.txt", item_key="title")
    assert desk.knowledge().rankings.tolist() == expected_lists(dist, data, N_ITEMS)
    assert any("15 repeated titles" in line for line in report)

    order = [int(row.argmin()) for row in half]
    keys = {
        "user_id": [data.user_tokens[u] for u in data.train.user],
        "ordinal": data.train.ordinal,
    }
    table = desk.table("lists.csv", **keys, item=[texts[2 * place] for place in order])
    desk.bring(table, item_key="title", force=True)
    assert desk.knowledge().rankings.tolist() == expected_lists(dist, data, 2)
    np.save(desk.foreign / "rankings.npy", np.tile(np.arange(3), (N_ROWS, 1)))
    with pytest.raises(ConfigError, match="titles repeat"):
        desk.bring(
            desk.foreign / "rankings.npy",
            items=tmp_path / "id2title.txt",
            item_key="title",
            force=True,
        )


def test_the_preference_among_ties(data: PreparedData) -> None:
    count = Counter(data.train.target.tolist())
    key = lambda item: (-count[item], data.item_tokens[item - 1])  # noqa: E731
    assert preference(data).tolist() == sorted(range(1, N_ITEMS + 1), key=key)


# -- one value a row -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["truth_distance.txt", "truth_distance.npy"])
def test_the_distances_of_targets(name: str, desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    folder.published()
    if name.endswith(".txt"):
        np.savetxt(desk.foreign / name, folder.truth)
    else:
        np.save(desk.foreign / name, folder.truth)
    desk.bring()
    np.testing.assert_array_equal(desk.knowledge().truth_distance, folder.truth)
    assert "truth-distance" in read_manifest(desk.folder).signals


def test_rows_that_lists_do_not_cover(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    folder.ids[3] = 999
    folder.published()
    covered = np.arange(N_ROWS) != 3
    np.save(desk.foreign / "covered.npy", covered)
    report = desk.bring()
    knowledge = desk.knowledge()
    np.testing.assert_array_equal(knowledge.covered, covered)
    np.testing.assert_array_equal(knowledge.rankings[covered], folder.ids[covered])
    assert "239 of 240 training rows covered (99.6%)" in report


def test_text_cannot_say_what_is_covered(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    folder.published()
    np.savetxt(desk.foreign / "covered.txt", np.ones(N_ROWS), fmt="%d")
    assert "covered.txt holds float64, bool expected" in desk.refused(kind=ArtifactError)


# -- embeddings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["z.pt", "embeddings.npy", "z.safetensors"])
@pytest.mark.parametrize("order", ["order.txt", "order.csv", "order.parquet"])
def test_embeddings_in_the_order_of_a_file(
    name: str, order: str, desk: Desk, folder: Folder
) -> None:
    turn = np.random.default_rng(5).permutation(N_ITEMS)
    table = folder.embeddings[turn].astype(np.float16)
    path = desk.foreign / name
    if name.endswith(".npy"):
        np.save(path, table)
    elif name.endswith(".pt"):
        torch.save(torch.from_numpy(table), path)
    else:
        save_file({"weight": table}, path)
    tokens = [desk.data.item_tokens[index] for index in turn]
    if order.endswith(".txt"):
        (desk.foreign / order).write_text("\n".join(tokens))
    else:
        desk.table(order, number=range(N_ITEMS), item_id=tokens)
    desk.bring(path, items=desk.foreign / order)
    expected = folder.embeddings.astype(np.float16)
    np.testing.assert_array_equal(desk.knowledge().embeddings[1:], expected.astype(np.float32))
    assert read_manifest(desk.folder).signals == ["embeddings"]


# -- tables of lists -----------------------------------------------------------------------------


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
    assert any("not stored: 60 lists of test rows" in line for line in report)
    hit = listed["test"] == data.test.target[:, None]
    expected = np.where(hit.any(1), hit.argmax(1) + 1, N_ITEMS)
    np.testing.assert_array_equal(load_test_ranks(desk.folder, data), expected)
    metrics = read_manifest(desk.folder).metrics
    assert metrics["test"]["hr@20"] == pytest.approx(hit.any(1).mean())
    hit = listed["valid"] == data.valid.target[:, None]
    assert metrics["valid"]["hr@5"] == pytest.approx(hit[:, :5].any(1).mean())
    assert any("counts as rank 30" in note for note in read_manifest(desk.folder).notes)


def test_integers_that_could_be_tokens_or_ids(make_data: Any, tmp_path: Path) -> None:
    data = _later(make_data(item_tokens=[str(index) for index in range(N_ITEMS, 0, -1)]))
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


@settings(max_examples=20, deadline=None)
@given(draw=st.data())
def test_scores_become_distances_that_keep_order_and_differences(
    draw: st.DataObject, toy: PreparedData
) -> None:
    random = np.random.default_rng(draw.draw(st.integers(0, 2**32)))
    scores = -np.sort(-random.normal(size=(N_ROWS, 4)) * draw.draw(st.floats(0.1, 50)), axis=1)
    ids = random.random((N_ROWS, N_ITEMS)).argsort(axis=1)[:, :4]
    with tempfile.TemporaryDirectory() as place:
        desk = Desk(Path(place), toy)
        np.save(desk.foreign / "rankings.npy", ids)
        np.save(desk.foreign / "confidence_train.npy", scores)
        desk.bring(value="score", id_base=0)
        distances = desk.knowledge().distances.double()
    assert (distances[:, 0] == 0).all() and (distances.diff(dim=1) >= 0).all()
    torch.testing.assert_close(
        torch.softmax(-distances, dim=1), torch.softmax(torch.from_numpy(scores), dim=1),
        atol=1e-5, rtol=1e-4,
    )  # fmt: skip


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.ids.__setitem__((5, 2), 4000), "count neither from 0 nor from 1"),
        (lambda f: f.ids.__setitem__((7, 4), f.ids[7, 0]), "name an item twice (first: row 7)"),
        (lambda f: setattr(f, "distances", f.distances[:, ::-1]), "as scores do"),
        (lambda f: setattr(f, "distances", f.distances - 9), "negative values"),
        (lambda f: setattr(f, "distances", f.distances[:, 1:]), "has shape (240, 4)"),
        (lambda f: f.embeddings.__setitem__(4, np.nan), "NaN or infinite (first in row 4)"),
        (lambda f: setattr(f, "embeddings", f.embeddings[1:]), "29 rows, the catalogue 30 items"),
        (lambda f: setattr(f, "ids", f.ids[:-1]), "239 rows, the training split of toy"),
        (
            lambda f: setattr(f, "ids", np.resize(f.ids, (N_ROWS + 120, K))),
            "as many as train and valid and test have together",
        ),
    ],
)
def test_broken_files_leave_nothing(spoil: Any, message: str, desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    spoil(folder)
    folder.published()
    assert message in desk.refused()


def test_a_failed_replacement_leaves_the_old_one(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    desk.bring(folder.published())
    before = read_manifest(desk.folder)
    with pytest.raises(ConfigError, match="there already"):
        desk.bring()
    folder.embeddings[0] = np.inf
    folder.published()
    with pytest.raises(ArtifactError, match="infinite"):
        desk.bring(force=True)
    assert read_manifest(desk.folder) == before
    assert check(desk.folder, desk.data).problems == []


def test_catalogue_order_under_the_published_names(desk: Desk) -> None:
    """What DLLM2Rec's README tells users to take from BIGRec's script, and how it is meant."""
    dist = np.random.default_rng(9).random((N_ROWS, N_ITEMS)).astype(np.float32)
    rank, values = desk.foreign / "myrank_train.txt", desk.foreign / "confidence_train.txt"
    np.savetxt(rank, dist.argsort(1).argsort(1), fmt="%d")
    np.savetxt(values, dist, fmt="%.9g")
    message = desk.refused()
    assert "argsort of an argsort" in message and "rank=PATH and dist=PATH" in message
    desk.bring(f"rank={rank}", f"dist={values}")
    assert desk.knowledge().rankings.tolist() == expected_lists(dist, desk.data, N_ITEMS)

    np.savetxt(values, dist[::-1], fmt="%.9g")
    with pytest.raises(DataError, match="not of one evaluation"):
        desk.bring(f"rank={rank}", f"dist={values}", force=True)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"dataset": "other"}, "made for the dataset other"),
        ({"catalogue_fingerprint": "b"}, "another catalogue"),
        ({"split_fingerprint": "b"}, "another split"),
    ],
)
def test_files_that_were_made_for_other_data(
    declared: dict[str, str], message: str, desk: Desk, folder: Folder
) -> None:
    folder.path = desk.foreign
    folder.published()
    folder.declare(signals=["embeddings", "rankings", "confidence"], id_base=0, **declared)
    assert message in desk.refused(kind=ArtifactError)


def test_a_declared_base_is_believed_unless_the_ids_deny_it(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    folder.published()
    signals = ["embeddings", "rankings", "confidence"]
    folder.declare(signals=signals, id_base=1)
    assert "do not count from 1 but from 0" in desk.refused()
    folder.declare(signals=signals, id_base=0)
    assert "--id-base 1, but teacher.json declares 0" in desk.refused(id_base=1)
    desk.bring()
    assert desk.knowledge().rankings.tolist() == folder.ids.tolist()


def test_the_suites_own_layout_is_not_imported(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    folder.binary()
    assert "own layout already" in desk.refused(kind=ConfigError)


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({}, {}, "no file that is known"),
        ({"vectors.npy": np.ones((2, 2))}, {}, "no file that is known"),
        ({"covered.npy": np.ones(3)}, {}, "covered.npy: no file is 'rankings'"),
        ({"distances.npy": np.ones((2, 2))}, {}, "no file is 'rankings'"),
        (
            {"rankings.npy": np.ones((2, 2)), "dist.npy": np.ones((2, 2))},
            {},
            "rankings and dist were given",
        ),
        ({"embeddings.npy": np.ones((N_ITEMS, 2))}, {"list_length": 3}, "--list-length concerns"),
        ({"embeddings.npy": np.ones((N_ITEMS, 2))}, {"value": "score"}, "--value concerns none"),
        ({"embeddings.npy": np.ones((N_ITEMS, 2), dtype=int)}, {}, "holds int64, floats expected"),
        ({"dist.npy": np.ones((N_ROWS, 4))}, {}, "4 values a row, and there are 30 items"),
        ({"rankings.npy": np.full((N_ROWS, 2), 0.5)}, {}, "holds values that are no item ids"),
        (
            {"rankings.npy": np.ones((N_ROWS, 2)), "covered.npy": np.zeros(N_ROWS, dtype=bool)},
            {},
            "covered.npy covers no row",
        ),
        (
            {"rankings.npy": np.ones((N_ROWS, 2)), "covered.npy": np.ones(60, dtype=bool)},
            {},
            "covered.npy has shape (60,), expected (240,); as many as valid has",
        ),
        (
            {"rankings.npy": np.ones((N_ROWS, 2)), "truth_distance.npy": np.ones((N_ROWS, 2))},
            {"id_base": 0},
            "truth_distance.npy has shape (240, 2), expected (240,)",
        ),
        ({"rankings.npy": np.array([{}])}, {}, "no plain .npy array"),
    ],
)
def test_files_that_make_no_teacher(
    files: dict[str, np.ndarray], options: dict[str, Any], message: str, desk: Desk
) -> None:
    for name, array in files.items():
        np.save(desk.foreign / name, array, allow_pickle=True)
    assert message in desk.refused(**options)


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
            "no training row has a list of items that the catalogue knows: 'i99', the first, is no "
            "token of toy",
        ),
        (
            {"user": ["u0", "u0"], "ordinal": [204, 4], "item": ["i0", "i99"]},
            {},
            "no training row has a list of items that the catalogue knows: 'i99'",
        ),
        (
            {"user": ["u77"], "ordinal": [4], "item": ["i0"]},
            {},
            "no list is that of a training row",
        ),
        ({"user": ["u0"], "ordinal": ["x"], "item": ["i0"]}, {}, "'x' is not a number"),
        ({"user": ["u0"], "ordinal": [4], "item": ["i0"]}, {"list_length": 2}, "no list has 2"),
    ],
)
def test_tables_that_tell_no_lists(
    columns: dict[str, list[Any]], options: dict[str, Any], message: str, desk: Desk
) -> None:
    assert message in desk.refused(desk.table("lists.csv", **columns), **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("i0\ni1\n", "28 of the 30 items of toy are not in it by token (first: 'i2')"),
        ("i0\ni0\n", "token 'i0' stands twice"),
        ("\n".join(f"Thing number {i}" for i in range(30)), "look like titles (--item-key title)"),
    ],
)
def test_orders_that_are_none(content: str, message: str, desk: Desk, folder: Folder) -> None:
    np.save(desk.foreign / "embeddings.npy", folder.embeddings)
    (desk.home / "order.txt").write_text(content)
    assert message in desk.refused(items=desk.home / "order.txt")


@pytest.mark.parametrize(
    ("name", "message"),
    [("published", "bare files"), ("text", "a configured teacher"), ("../x", "cannot be the name")],
)
def test_names_that_are_taken(name: str, message: str, desk: Desk) -> None:
    with pytest.raises(ConfigError, match=message):
        import_teacher(
            name, Request([]), desk.data, Workspace(desk.home), desk.folder, lambda line: None
        )
