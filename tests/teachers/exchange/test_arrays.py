"""Arrays over the whole catalogue, or in an order of their own, find their items."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from bench.data.examples import PreparedData
from bench.errors import ArtifactError, ConfigError, DataError
from bench.teachers.contract import check
from bench.teachers.exchange.naming import find_base
from bench.teachers.manifest import read_manifest
from bench.teachers.rows import preference
from bench.teachers.summary import summarise

from ..conftest import N_ITEMS, N_ROWS, Folder, K
from .conftest import Desk, expected_lists, later


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
    with pytest.raises(DataError, match=r"rankings\.npy: no row has a list of items"):
        desk.bring(items=desk.home / "order.txt", id_base=0, force=True)


def test_titles_that_repeat_tie_by_popularity_and_token(make_data: Any, tmp_path: Path) -> None:
    texts = [f"Tom &amp; no  {index // 2}" for index in range(N_ITEMS)]
    data = later(make_data(item_texts=[f"Tom & no {index // 2}" for index in range(N_ITEMS)]))
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


def test_a_folder_of_arrays_may_hold_other_tables(desk: Desk, folder: Folder) -> None:
    """The order of the items, and tables without a name that tells lists."""
    np.save(desk.foreign / "rankings.npy", folder.ids - 1)
    np.save(desk.foreign / "embeddings.npy", folder.embeddings)
    desk.table("reviews.tsv", user=["u1"], item=["i1"])
    desk.table("embeddings.csv", width=[8])
    order = desk.table("lists.csv", item=desk.data.item_tokens)
    desk.bring(items=order)
    np.testing.assert_array_equal(desk.knowledge().rankings, folder.ids)
    np.testing.assert_array_equal(desk.knowledge().embeddings[1:], folder.embeddings)


def test_a_table_in_a_folder_has_a_telling_name_and_alone_any(desk: Desk) -> None:
    keys = {"user": ["u0"], "ordinal": [int(desk.data.train.ordinal[0])]}
    table = desk.table("of_my_model.csv", **keys, item=["i0"])
    assert "no file that is known" in desk.refused(kind=ConfigError)
    desk.bring(table)
    assert desk.knowledge().covered.sum() == 1
    table.rename(desk.foreign / "Ranked_Lists.csv")
    desk.bring(force=True)
    assert desk.knowledge().covered.sum() == 1


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


@settings(max_examples=20)
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


@pytest.mark.parametrize("filler", [-1, 0, np.nan, "last"])
def test_padded_lists_are_told_what_to_do(filler: Any, desk: Desk, folder: Folder) -> None:
    lists = folder.ids.astype(np.float64)
    lists[7, 4:] = lists[7, 3] if filler == "last" else filler
    np.save(desk.foreign / "rankings.npy", lists)
    said = desk.refused()
    assert "lists end in" in said and "list 7" in said
    assert "looks like padding" in said and "Write a table of user, ordinal and item" in said


def test_embeddings_of_zeros_are_doubted(desk: Desk) -> None:
    vectors = np.random.default_rng(0).normal(size=(N_ITEMS, 4)).astype(np.float32)
    vectors[3:5] = 0
    np.save(desk.foreign / "embeddings.npy", vectors)
    doubt = f"2 of {N_ITEMS} embeddings are zeros (first: item '{desk.data.item_tokens[3]}')"
    assert any(doubt in line for line in desk.bring())
    (found,) = summarise(check(desk.folder, desk.data), desk.data)["doubts"]
    assert found.startswith(doubt)


@pytest.mark.parametrize("name", ["all_embeddings.pt", "E.PT", "e.pth", "e.BIN", "embeddings.NPY"])
def test_arrays_come_under_any_of_their_endings(name: str, desk: Desk) -> None:
    vectors = np.random.default_rng(0).normal(size=(N_ITEMS, 4)).astype(np.float32)
    path = desk.foreign / name
    with path.open("wb") as stream:
        if name.endswith("NPY"):
            np.save(stream, vectors)
        else:
            torch.save(torch.from_numpy(vectors), stream)
    for paths in ((), (path,), (f"embeddings={path}",)):
        desk.bring(*paths, force=True)
        np.testing.assert_array_equal(desk.knowledge().embeddings[1:], vectors)


@pytest.mark.parametrize("name", ["embeddings.npz", "embeddings.csv", "embeddings.parquet"])
def test_what_is_no_array_is_refused_with_the_way_out(name: str, desk: Desk) -> None:
    path = desk.foreign / name
    path.write_bytes(b"0,1\n1,2\n")
    assert f"There: {name}" in desk.refused(kind=ConfigError)
    assert ".npy" in desk.refused(path, kind=ConfigError)
    assert ".npy" in desk.refused(f"embeddings={path}", kind=ArtifactError)
