"""MovieLens-100K as RecBole prepares it: the same rows where the definitions are the same.

Where they are not, the differences are those that docs/protocol.md tells: RecBole keeps times as
float32 and breaks their ties by the order of the file, and it rounds the shares of a split
otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.config import ProtocolConfig
from bench.data.prepare.interactions import Interactions, canonical
from bench.data.prepare.protocols import targets_of
from bench.data.prepare.windows import examples_at, ordinals
from bench.data.sources.movielens import read_movielens
from bench.data.sources.tables import read_table

pytestmark = pytest.mark.filterwarnings("ignore")  # of RecBole about itself


@pytest.fixture
def folder() -> Path:
    package = pytest.importorskip("recbole")
    return Path(package.__file__).parent / "dataset_example"


@pytest.fixture
def build(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Builds RecBole's rows of a split: its dataset, and the rows of train, valid and test."""
    monkeypatch.setattr("sys.argv", ["test"])  # its Config parses it
    monkeypatch.chdir(tmp_path)  # it writes logs there
    anomaly = torch.is_anomaly_enabled()  # which RecBole's models switch on
    from recbole.config import Config
    from recbole.data import create_dataset

    class Settings(Config):
        def compatibility_settings(self) -> None:
            """Left out: it needs names that NumPy 2 has no more."""

    def build(split: dict[str, Any], group: str) -> tuple[Any, list[Any]]:
        settings = {
            "data_path": str(folder),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "MAX_ITEM_LIST_LENGTH": 10,
            "normalize_field": None,
            "normalize_all": False,
            "train_neg_sample_args": None,
            "eval_args": {"split": split, "order": "TO", "group_by": group, "mode": "full"},
        }
        data = create_dataset(Settings(model="SASRec", dataset="ml-100k", config_dict=settings))
        assert (data.user_num - 1, data.item_num - 1, data.inter_num) == (943, 1682, 100_000)
        return data, [part.inter_feat for part in data.build()]

    yield build
    torch.autograd.set_detect_anomaly(anomaly)


def as_recbole_orders(folder: Path) -> Interactions:
    """The interactions with times as float32, ties in the order of the file."""
    table = read_table(folder / "ml-100k" / "ml-100k.inter")
    return canonical(
        table["user_id"],
        table["item_id"],
        item_texts={},
        time=table["timestamp"].astype(np.float32).astype(np.int64).to_numpy(),
        position=np.arange(len(table)),
    )


def numbers(data: Any, name: str, tokens: list[str], first: int) -> np.ndarray:
    """Our number of each of RecBole's; its padding is 0."""
    place = {token: index for index, token in enumerate(tokens, start=first)}
    return np.array([0, *(place[token] for token in data.field2id_token[name][1:])])


def table(user: Any, length: Any, history: Any, target: Any) -> np.ndarray:
    """Rows as lines of numbers, in an order of their own."""
    lines = np.column_stack([user, length, history, target])
    return lines[np.lexsort(lines.T)]


def test_leave_one_out_has_recboles_rows(build, folder):
    data, parts = build({"LS": "valid_and_test"}, "user")
    ours = as_recbole_orders(folder)
    item = numbers(data, "item_id", ours.item_tokens, 1)
    user = numbers(data, "user_id", ours.user_tokens, 0)
    ordinal, _ = ordinals(ours.user)
    targets = targets_of(ours, ProtocolConfig(name="leave-one-out"))
    assert [len(part) for part in parts] == [97_171, 943, 943]
    for theirs, indices in zip(parts, targets, strict=True):
        rows = examples_at(indices, ours.user, ours.item, ordinal, 10)
        expected = table(
            user[theirs["user_id"].numpy()],
            theirs["item_length"].numpy(),
            item[theirs["item_id_list"].numpy()],
            item[theirs["item_id"].numpy()],
        )
        assert (table(rows.user, rows.length, rows.history, rows.target) == expected).all()


def test_exact_times_give_other_targets(folder):
    """Of 943 users, so many have a test target in RecBole that is not among their last items."""
    blurred, exact = as_recbole_orders(folder), read_movielens()
    assert blurred.item_tokens == exact.item_tokens and exact.time is not None
    protocol = ProtocolConfig(name="leave-one-out")
    ends = targets_of(exact, protocol)[2]
    wrong = 0
    for user, theirs in enumerate(blurred.item[targets_of(blurred, protocol)[2]]):
        of_user = exact.user == user
        last = exact.item[of_user & (exact.time == exact.time[ends[user]])]
        wrong += theirs not in last
    assert wrong == 149


def test_the_global_split_differs_from_recboles_by_its_rounding(build):
    _, parts = build({"RS": [0.8, 0.1, 0.1]}, "none")
    data = read_movielens()
    targets = targets_of(data, ProtocolConfig(name="temporal", first_target=1))
    rows = len(data) - len(data.user_tokens)
    assert [len(part) for part in targets] == [rows * 8 // 10, 9_906, 9_906]
    assert [len(part) for part in parts] == [rows - 2 * (rows // 10), rows // 10, rows // 10]
    assert [len(part) for part in parts] == [79_247, 9_905, 9_905]
