"""What was finished is not computed again, and what was not is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.teachers.language.resume import SHARDS, folder_of, in_batches, longest_first

from ...listening import listening

BATCHES = [[4, 1], [0, 3], [2]]


class Work:
    """Squares rows, and remembers which; stops after some batches if it is told to."""

    def __init__(self, batches: int = 99) -> None:
        self.seen: list[int] = []
        self.batches = batches

    def __call__(self, rows: Sequence[int]) -> list[Any]:
        if not self.batches:
            raise KeyboardInterrupt
        self.batches -= 1
        self.seen += rows
        return [{"square": row * row} for row in rows]


def run(folder: Path, work: Work, lines: list[str] | None = None) -> dict[int, Any]:
    with listening([].append if lines is None else lines.append):
        return in_batches(folder, BATCHES, work, "squares")


EXPECTED = {row: {"square": row * row} for row in range(5)}


def test_finished_batches_are_read_and_the_others_computed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Work(batches=2))
    work, lines = Work(), []
    assert run(tmp_path, work, lines) == EXPECTED
    assert work.seen == [2]
    assert lines[0] == "squares: 4 of 5 rows are there from before"
    assert lines[-1].startswith("squares: 1 of 1 rows, 0 s")
    again = Work()
    assert run(tmp_path, again) == EXPECTED and again.seen == []
    assert len(list(tmp_path.glob(SHARDS))) == 2  # none of the run that had nothing to do
    batches = [
        json.loads(line) for shard in tmp_path.glob(SHARDS) for line in shard.open(encoding="utf-8")
    ]
    assert sorted(batch["rows"] for batch in batches) == sorted(BATCHES)


def test_a_line_that_was_being_written_is_computed_again(tmp_path: Path) -> None:
    run(tmp_path, Work())
    (shard,) = tmp_path.glob(SHARDS)
    whole = shard.read_bytes()
    start_of_last = whole[:-1].rindex(b"\n") + 1
    for end in (start_of_last, start_of_last + 1, len(whole) - 1):
        shard.write_bytes(whole[:end])
        work = Work()
        assert run(tmp_path, work) == EXPECTED
        assert work.seen == [2]
        for other in set(tmp_path.glob(SHARDS)) - {shard}:
            other.unlink()


def test_a_damaged_shard_is_told(tmp_path: Path) -> None:
    run(tmp_path, Work())
    (shard,) = tmp_path.glob(SHARDS)
    shard.write_bytes(b"\0" * 9 + shard.read_bytes()[9:])
    with pytest.raises(BenchError, match=f"{shard} is damaged"):
        run(tmp_path, Work())


def test_other_inputs_have_another_folder(tmp_path: Path) -> None:
    inputs = {"model": "a", "options": {"beams": 4, "rate": 0.5}}
    folder = folder_of(tmp_path, "titles", inputs)
    assert folder == folder_of(tmp_path, "titles", {**inputs})
    assert folder != folder_of(tmp_path, "titles", {**inputs, "model": "b"})
    assert folder != folder_of(tmp_path, "lists", inputs)
    assert json.loads((folder / "inputs.json").read_text()) == inputs


def test_float32_survives(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    read: dict[int, Any] = {}
    for _ in range(2):
        read = in_batches(tmp_path, [[0, 1, 2]], lambda rows: values.tolist(), "vectors")
    kept = np.asarray([read[row] for row in range(3)], dtype=np.float32)
    np.testing.assert_array_equal(kept, values)


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 7))
def test_batches_by_length(lengths: list[int], size: int) -> None:
    rows = [3 * place for place in range(len(lengths))]
    batches = longest_first(rows, lengths, size)
    assert sorted(row for batch in batches for row in batch) == rows
    assert all(len(batch) == size for batch in batches[:-1])
    ordered = [lengths[row // 3] for batch in batches for row in batch]
    assert ordered == sorted(lengths, reverse=True)
