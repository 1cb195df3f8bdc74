"""Windows against plain loops over users, and what a step makes of them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from bench.errors import DataError
from bench.training.rows import DeviceRows, Portion
from bench.training.windows import Windows

SIZE = 5


def rows_of(*lengths: int, first_target: int = 1, seed: int = 0) -> DeviceRows:
    """Rows of users with sequences of these lengths, in mixed order."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    found = []
    for user, length in enumerate(lengths):
        items = [draw.randint(1, 30) for _ in range(length)]
        for ordinal in range(first_target, length):
            shown = items[max(0, ordinal - SIZE) : ordinal]
            padded = shown + [0] * (SIZE - len(shown))
            found.append((padded, len(shown), items[ordinal], user, ordinal))
    draw.shuffle(found)
    return DeviceRows(*(torch.tensor(column) for column in zip(*found, strict=True)))


def portions(windows: Windows, batch_size: int, seed: int = 0) -> list[Portion]:
    return list(windows.batches(batch_size, torch.Generator().manual_seed(seed)))


def read(rows: DeviceRows, portion: Portion) -> list[tuple[int, list[int]]]:
    """Every row of a step with the items that it sees."""
    assert portion.window is not None and portion.place is not None
    shown = []
    for row, place in zip(portion.row_id.tolist(), portion.place.tolist(), strict=True):
        history = rows.history[portion.window[place // SIZE]].tolist()
        shown.append((row, history[: place % SIZE + 1]))
    return shown


@pytest.mark.parametrize("stride", [1, 2, 3, SIZE])
@pytest.mark.parametrize("first_target", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_every_row_is_read_once_and_sees_the_end_of_its_history(
    stride: int, first_target: int, batch_size: int
) -> None:
    rows = rows_of(2, 3, 6, 7, 12, 13, 40, first_target=first_target)
    windows = Windows(rows, None, stride)
    seen = [pair for portion in portions(windows, batch_size) for pair in read(rows, portion)]
    assert sorted(row for row, _ in seen) == list(range(len(rows)))
    for row, shown in seen:
        whole = rows.history[row, : rows.length[row]].tolist()
        assert shown == whole[len(whole) - len(shown) :]
        assert 0 not in shown
        assert len(shown) >= min(len(whole), SIZE - stride + 1)


def test_windows_are_cut_from_the_last_row_backwards() -> None:
    rows = rows_of(14)
    (portion,) = portions(Windows(rows, None, SIZE), 1000)
    sees = {int(rows.ordinal[row]): len(shown) for row, shown in read(rows, portion)}
    # Ordinals 9..13 are one window, 4..8 another; 1..3 show all that there was.
    assert sees == {
        9: 1,
        10: 2,
        11: 3,
        12: 4,
        13: 5,
        4: 1,
        5: 2,
        6: 3,
        7: 4,
        8: 5,
        1: 1,
        2: 2,
        3: 3,
    }
    assert portion.window is not None
    assert sorted(rows.ordinal[portion.window].tolist()) == [3, 8, 13]


def test_rows_that_a_stage_leaves_out_are_shown_but_not_trained() -> None:
    rows = rows_of(14, 9)
    chosen = torch.arange(0, len(rows), 2)
    seen = [
        pair for portion in portions(Windows(rows, chosen, SIZE), 4) for pair in read(rows, portion)
    ]
    assert sorted(row for row, _ in seen) == chosen.tolist()
    for row, shown in seen:
        whole = rows.history[row, : rows.length[row]].tolist()
        assert shown == whole[len(whole) - len(shown) :]


def test_steps_hold_whole_windows_of_about_the_batch_size() -> None:
    rows = rows_of(*range(2, 60))
    steps = portions(Windows(rows, None, SIZE), 32)
    assert all(32 - SIZE < len(step) < 32 + SIZE for step in steps[:-1])
    assert sum(map(len, steps)) == len(rows)
    windows = torch.cat([step.window for step in steps if step.window is not None])
    assert len(windows.unique()) == len(windows)


def test_the_order_is_drawn_anew_and_from_the_generator_alone() -> None:
    windows = Windows(rows_of(*range(2, 40)), None, SIZE)
    first, again, other = (
        torch.cat([p.row_id for p in portions(windows, 16, s)]) for s in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_rows_that_do_not_follow_one_another_are_refused() -> None:
    rows = rows_of(14)
    target = rows.target.clone()
    target[rows.ordinal == 6] += 1
    with pytest.raises(DataError, match="history of the second does not show the target"):
        Windows(replace(rows, target=target), None, SIZE)
