"""What a conventional recommender lists, against a loop over its scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.examples import Examples
from bench.students.config import StudentConfig
from bench.teachers.kinds.delrec.conventional import Conventional, trained_or_kept, without_last
from bench.teachers.recommenders.members import Trained, untrained
from bench.training.config import TrainingConfig

from ....listening import listening
from . import colours

ROWS = colours.make_rows(40, 0)


def member() -> Trained:
    student = StudentConfig(
        model="SASRec",
        parameters={"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1},
    )
    training = TrainingConfig(max_epochs=2, min_epochs=1, batch_size=16, learning_rate=0.05)
    with torch.random.fork_rng():
        return untrained("sasrec", student, training, ROWS, colours.N_ITEMS, 20, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conventional")


@pytest.fixture(scope="module")
def conventional(folder: Path) -> Conventional:
    with torch.random.fork_rng():
        return made(folder)


def made(folder: Path, lines: list[str] | None = None) -> Conventional:
    held_out = colours.make_rows(10, 1)
    with listening([].append if lines is None else lines.append):
        return trained_or_kept(
            member(), ROWS, held_out, colours.N_ITEMS, folder / "state.pt", "cpu"
        )


@torch.no_grad()
def scores(conventional: Conventional, rows: Examples) -> np.ndarray:
    columns = (torch.from_numpy(c).long() for c in (rows.history, rows.length, rows.user))
    return conventional.member.scores(*columns).numpy()


def test_what_was_trained_is_kept(conventional: Conventional, folder: Path) -> None:
    lines: list[str] = []
    again = made(folder, lines)
    assert lines == [] and again.member.story == conventional.member.story
    np.testing.assert_array_equal(scores(again, ROWS), scores(conventional, ROWS))
    assert not np.array_equal(scores(Conventional(member()), ROWS), scores(again, ROWS))


def test_lists_leave_the_history_out_and_never_the_target(conventional: Conventional) -> None:
    rows = colours.make_rows(30, 4)
    rows.target[:10] = rows.history[:10, 0]
    table = scores(conventional, rows)
    found = conventional.lists(rows, 7)
    assert found.shape == (30, 7) and found.dtype == np.int32
    for row in range(30):
        seen = set(rows.history[row].tolist()) - {int(rows.target[row])}
        items = [item for item in range(1, colours.N_ITEMS + 1) if item not in seen]
        assert found[row].tolist() == sorted(items, key=lambda i: -table[row, i - 1])[:7]
    assert conventional.lists(rows, 99).shape == (30, colours.N_ITEMS - colours.LENGTH)


def test_the_full_ranking_leaves_nothing_out(conventional: Conventional) -> None:
    rows = colours.make_rows(30, 5)
    table = scores(conventional, rows)
    heads, ranks = conventional.ranked(rows, 9)
    for row in range(30):
        order = sorted(range(1, colours.N_ITEMS + 1), key=lambda i: -table[row, i - 1])
        assert heads[row].tolist() == order[:9]
        assert ranks[row] == order.index(rows.target[row]) + 1


def test_rows_and_lists_stay_together(conventional: Conventional) -> None:
    rows = colours.make_rows(30, 6)
    known = conventional.listed(rows, 5, shortest=4)
    np.testing.assert_array_equal(known.following, conventional.lists(rows, 5))
    order = np.random.default_rng(0).permutation(30)
    mixed = Examples(*(getattr(rows, name)[order] for name in Examples.__dataclass_fields__))
    again = conventional.listed(mixed, 5, shortest=4)
    np.testing.assert_array_equal(again.following, known.following[order])
    np.testing.assert_array_equal(again.preceding, known.preceding[order])
    table = None
    for row in range(30):
        n = int(rows.length[row])
        if n < 4:
            assert not known.preceding[row].any()
            continue
        one = Examples(
            *(getattr(rows, name)[row : row + 1] for name in Examples.__dataclass_fields__)
        )
        shorter = without_last(one)
        assert shorter.history[0].tolist() == [*rows.history[row, : n - 1], *[0] * (7 - n)]
        assert shorter.target[0] == rows.history[row, n - 1] and shorter.length[0] == n - 1
        table = scores(conventional, shorter)[0]
        seen = set(shorter.history[0].tolist()) - {int(shorter.target[0])}
        items = [item for item in range(1, colours.N_ITEMS + 1) if item not in seen]
        assert known.preceding[row].tolist() == sorted(items, key=lambda i: -table[i - 1])[:5]
    assert table is not None
