"""Files of whole sequences: one user per line, and the rows that DLLM2Rec's program reads."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.data import store
from bench.data.config import dataset_config
from bench.data.prepare.interactions import HISTORY, Interactions
from bench.data.sources import importing
from bench.data.sources.importing import tables_at
from bench.errors import DataError
from bench.paths import Workspace


def sequences(data: Interactions) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for user, item in zip(data.user, data.item, strict=True):
        found.setdefault(data.user_tokens[user], []).append(data.item_tokens[item])
    return found


def read(path: Path, **options) -> Interactions:
    return importing.read(tables_at(path, **options))


@pytest.mark.parametrize(
    "text",
    ["u x y x\nv z\n", "u\tx,y,x\n\nv: z", "u,x,y,x\r\nv,z\r\n"],
    ids=["blanks", "mix", "dos"],
)
def test_a_line_is_a_user_and_their_items(tmp_path, text):
    path = tmp_path / "shop.txt.gz"
    path.write_bytes(gzip.compress(text.encode()))
    data = read(path, layout="user-sequences")
    assert sequences(data) == {"u": ["x", "y", "x"], "v": ["z"]}
    assert data.time is None and data.split is None


def test_the_order_of_the_users_changes_nothing(tmp_path):
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("u x y\nv z x\n")
    other.write_text("v z x\nu x y\n")
    prints = {read(path, layout="user-sequences").fingerprint for path in (one, other)}
    assert len(prints) == 1


def test_users_without_names_are_called_after_their_lines(tmp_path):
    path = tmp_path / "shop.txt"
    path.write_text("\n".join([*(f"i{n} x" for n in range(10)), "", "y z"]))
    data = read(path, layout="item-sequences")
    found = sequences(data)
    assert list(found) == [*(f"{n:02}" for n in range(10)), "11"]
    assert found["03"] == ["i3", "x"] and found["11"] == ["y", "z"]
    assert data.report[:2] == ["read 11 lines of shop.txt", "dropped 1 empty lines"]


def test_titles_come_from_a_table_of_items(tmp_path):
    path = tmp_path / "shop.txt"
    path.write_text("u 1 2\n")
    (tmp_path / "items.csv").write_text("id,name\n1,Tom &amp; Jerry\n2,Two\n")
    data = read(path, layout="user-sequences", items=tmp_path / "items.csv")
    assert data.item_texts == ["Tom & Jerry", "Two"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u x\nv y\nu z\n", "user 'u' stands on line 1 and on line 3"),
        ("", "holds no sequence"),
        ("u\nv\n", "holds no sequence"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_bad_sequences_are_refused(tmp_path, text, message):
    path = tmp_path / "shop.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=rf"shop\.txt: {message}"):
        read(path, layout="user-sequences")


def test_options_without_a_use_are_refused(tmp_path):
    path = tmp_path / "shop.txt"
    path.write_text("u x y\n")
    with pytest.raises(DataError, match="no use for --column user, --file-order"):
        read(path, layout="user-sequences", columns=["user=who"], file_order=True)
    with pytest.raises(DataError, match="is read from a folder"):
        read(path, layout="dllm2rec")
    with pytest.raises(DataError, match="is read from a file"):
        read(tmp_path, layout="user-sequences")
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "gone", layout="user-sequences")


ITEMS = 11
TRAIN = [([9, 10, 2], 4), ([1, 1], 10), ([0], 3)] * 5
VALID = [([2, 4], 9), ([4], 4)]
TEST = [([5, 5, 6], 7)]


def write_rows(folder: Path, *, width: int = 4, items: int = ITEMS, train=TRAIN) -> Path:
    folder.mkdir(exist_ok=True)

    def frame(rows) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "seq": [seq + [items] * (width - len(seq)) for seq, _ in rows],
                "len_seq": [len(seq) for seq, _ in rows],
                "next": [float(target) for _, target in rows],
            }
        )

    frame(train).to_pickle(folder / "train_data.df")
    frame(VALID).to_csv(folder / "val_data.csv", index=False)
    frame(TEST).to_csv(folder / "test_data.csv", index=False)
    pd.DataFrame({"seq_size": [width], "item_num": [items]}).to_pickle(folder / "data_statis.df")
    (folder / "id2name.txt").write_text("Tom &amp; Jerry\t0\nA\ttab\t10\n")
    return folder


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("moved", ["no", "half", "all"])
def test_titles_of_another_run_are_doubted(tmp_path, moved, seed):
    """Ten series of twenty games each; people stay within a series. Eight more have no title."""
    random = np.random.default_rng(seed)
    series = 20 * random.integers(0, 10, 600)
    first, second = (series + random.integers(0, 20, (2, 600))).tolist()
    rows = [([before], after) for before, after in zip(first, second, strict=True)]
    folder = write_rows(tmp_path / "game", items=208, train=rows)
    titles = [f"Series{n // 20} Part {n % 20}" for n in range(200)] + ["None"] * 8
    move = {"no": [], "half": range(104, 208), "all": range(208)}[moved]
    place = np.arange(208)
    place[list(move)] = random.permutation(place[list(move)])
    lines = [f"{titles[place[n]]}\t{n}" for n in range(208)]
    (folder / "id2name.txt").write_text("\n".join(lines) + "\n")
    report = [line for line in read(folder).report if "titles of items that follow" in line]
    nameless = sum(titles[place[n]] == "None" for n in {*first, *second})
    told = [line for line in read(folder).report if "seem to belong to other rows" in line]
    assert bool(told) == (moved != "no")
    assert all(line.startswith("WARNING") and f"{nameless} items" in line for line in told)
    assert bool(report) == (moved != "half")  # half of them are still more alike than by chance


def test_rows_and_items_of_dllm2rec_keep_their_numbers(tmp_path):
    data = read(write_rows(tmp_path / "game"))
    assert data.item_tokens == [f"{n:02}" for n in range(ITEMS)]
    assert (data.item_texts[0], data.item_texts[10], data.item_texts[5]) == (
        "Tom & Jerry",
        "A tab",
        "",
    )
    assert data.split is not None and (data.split != HISTORY).sum() == 18
    workspace = Workspace.current()
    importing.store("mine", data, workspace)
    config = dataset_config("mine", workspace)
    rows = store.prepare("mine", config, config.protocol, workspace)
    for table, expected in ((rows.train, TRAIN), (rows.valid, VALID), (rows.test, TEST)):
        found = [
            ([item - 1 for item in history[:length]], target - 1)
            for history, length, target in zip(
                table.history.tolist(), table.length, table.target, strict=True
            )
        ]
        assert found == expected
    assert rows.n_items == ITEMS


def test_a_text_table_serves_as_well(tmp_path):
    one = write_rows(tmp_path / "one")
    other = write_rows(tmp_path / "other")
    for stem in ("train_data", "data_statis"):
        table = pd.read_pickle(other / f"{stem}.df")  # noqa: S301 - written above
        table.to_csv(other / f"{stem}.csv", index=False)
        (other / f"{stem}.df").unlink()
    assert read(one).fingerprint == read(other).fingerprint


def test_rows_without_history_are_dropped_and_told(tmp_path):
    data = read(write_rows(tmp_path / "game", train=[([], 3), *TRAIN]))
    assert any("dropped 1 train rows without a history" in line for line in data.report)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"train": [([ITEMS], 3)]}, r"train_data\.df: row 1: .* expected item numbers 0 to 10"),
        ({"train": [([1], -1)]}, r"row 1: seq \[1, 11, 11, 11\], len_seq 1, next -1"),
        ({"train": [([1], 0.5)]}, r"row 1"),
    ],
    ids=["padding as item", "negative", "fraction"],
)
def test_rows_that_contradict_are_refused(tmp_path, broken, message):
    with pytest.raises(DataError, match=message):
        read(write_rows(tmp_path / "game", **broken))


def test_missing_parts_are_named(tmp_path):
    folder = write_rows(tmp_path / "game")
    (folder / "data_statis.df").unlink()
    with pytest.raises(DataError, match=r"neither data_statis\.df nor data_statis\.csv"):
        read(folder)
    folder = write_rows(tmp_path / "other")
    (folder / "train_data.df").unlink()
    with pytest.raises(DataError, match=r"neither train_data\.df nor train_data\.csv. There: "):
        read(folder, layout="dllm2rec")
    folder = write_rows(tmp_path / "third")
    (folder / "val_data.csv").write_text("seq,next\n[1],2\n")
    with pytest.raises(DataError, match=r"val_data\.csv: no column 'len_seq'"):
        read(folder)
    (folder / "id2name.txt").write_text("Tom\t11\n")
    (folder / "val_data.csv").write_text("seq,len_seq,next\n[1],1,2\n")
    with pytest.raises(DataError, match=r"id2name\.txt: 'Tom', '11'"):
        read(folder)


@pytest.mark.parametrize(
    "text",
    [
        "u\t[1, 2, 3]\nv\t[2, 3]\n",
        "u: ['1', '2', '3']\nv: [\"2\",\"3\"]\n",
        "user_id:token items\nu 1 2 3\nv 2 3\n",
        "u 1 2 3 -1\nv 2 3 -1 -1\n",
        "u -1 1 2 3\nv -1 -1 2 3\n",
        "userId,itemIds\nu,1,2,3\nv,2,3\n",
        "user_id:token\titem_id_list:token_seq\nu\t1 2 3\nv\t2 3\n",
        "user item_1 item_2 item_3\nu 1 2 3\nv 2 3\n",
        "u 1 2 3 <pad>\nv 2 3 <PAD> <PAD>\n",
        "u 1 2 3\nv 2 3 nan\n",
        "u 1.0 2.0 3.0\nv 2 3\n",
    ],
)
def test_decoration_is_no_item(tmp_path, text):
    path = tmp_path / "s.txt"
    path.write_text(text)
    assert sequences(read(path, layout="user-sequences")) == {"u": ["1", "2", "3"], "v": ["2", "3"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("u 1 2 0\nv 2 0 0\n", "item '0' stands only at the ends of lines, up to 2 times in a row"),
        ('{"user": "u", "items": [1, 2]}\n', r"line 1: '.*' does not look like an id"),
        ("u [1, 2] [3]\n", r"line 1: '\[1' does not look like an id"),
        ("u 1 '2\n", r"line 1: ''2' does not look like an id"),
        ("# of 2020\nu 1 2\n", r"line 1: '#' does not look like an id"),
        ("u -> 1 2\n", r"line 1: '->' does not look like an id"),
        ("u 1 -1 2\nv 2 3\n", "user 'u': '-1', which programs write where there is no item"),
        ("u 1 2 9 9\nv 2 3 4 9\n", "item '9' stands only at the ends of lines, up to 2 times"),
        ("u 1:100 2:200\nv 2:100\n", "each item has a number behind a colon, such as '1:100'"),
        ("a 1 x\nb 2 x y\nc 1 y\nd 3 x y z\n", "each line says how many items it has"),
        ("u;1;2\nv;2;3\n", "holds no sequence of items: a line such as 'u;1;2' has one id"),
    ],
)
def test_decoration_that_cannot_be_told_from_items_is_refused(tmp_path, text, message):
    path = tmp_path / "s.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read(path, layout="user-sequences")


def test_an_item_0_inside_of_a_line_is_one(tmp_path):
    path = tmp_path / "s.txt"
    path.write_text("u 0 2 0 0\nv 2 0 1\n")
    assert sequences(read(path, layout="user-sequences"))["u"] == ["0", "2", "0", "0"]
