"""Windows: training rows of one user that are read in one pass, each at its own position.

The row before a row (same user, ordinal - 1) has that row's last item as its target. So a history
of L items predicts, at its successive positions, the targets of up to L rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.errors import DataError
from bench.training.rows import DeviceRows, Portion


class Windows:
    """Passes over rows that are read window by window; every row belongs to one window.

    The rows of a user are cut, from the last one backwards, into windows of successive ordinals. A
    window shows the history of its last row. Its other rows are read at the positions before: they
    see where that history begins, and nothing earlier.
    """

    def __init__(self, rows: DeviceRows, chosen: Tensor | None, stride: int) -> None:
        """Cut the rows into windows.

        Args:
            rows: the training rows.
            chosen: int64 [R'], those of a pass; None is all of them.
            stride: ordinals of a window, 1..L. A row sees at least L - stride + 1 items, or all
                there are.

        Raises:
            DataError: a history does not hold the targets of the rows before.
        """
        if chosen is None:
            chosen = torch.arange(len(rows), device=rows.target.device)
        self.size = rows.history.shape[1]
        span = rows.ordinal.max() + 1
        # By user, the latest row first: that of a window is the one whose history is read.
        order = (rows.user[chosen] * span - rows.ordinal[chosen]).argsort()
        self.row_id = chosen[order]
        user, ordinal = rows.user[self.row_id], rows.ordinal[self.row_id]
        first, count = _runs(user)
        window = (ordinal[first].repeat_interleave(count) - ordinal) // stride
        first, count = _runs(user * span + window)
        last = self.row_id[first].repeat_interleave(count)
        self.position = rows.length[last] - 1 - (rows.ordinal[last] - ordinal)
        _check_targets(rows, self.row_id, last, self.position)
        self.first, self.count = first.cpu(), count.cpu()

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Portion]:
        """One pass over whole windows in random order, about `batch_size` rows a step."""
        order = torch.randperm(len(self.count), generator=generator)
        before = self.count[order].cumsum(0) - self.count[order]
        _, windows = _runs(before // batch_size)
        yield from map(self._portion, order.split(windows.tolist()))

    def _portion(self, windows: Tensor) -> Portion:
        """The rows of some of the windows."""
        first, count = self.first[windows], self.count[windows]
        number = torch.arange(len(windows)).repeat_interleave(count)
        index = (first - (count.cumsum(0) - count))[number] + torch.arange(len(number))
        first, number, index = (
            part.to(self.row_id.device, non_blocking=True) for part in (first, number, index)
        )
        place = number * self.size + self.position[index]
        return Portion(self.row_id[index], self.row_id[first], place)


def _runs(values: Tensor) -> tuple[Tensor, Tensor]:
    """Where runs of equal values begin and how long they are: int64 [W] each."""
    _, count = values.unique_consecutive(return_counts=True)
    return count.cumsum(0) - count, count


def _check_targets(rows: DeviceRows, row_id: Tensor, last: Tensor, position: Tensor) -> None:
    earlier = row_id != last
    row_id, last, position = row_id[earlier], last[earlier], position[earlier]
    shown = rows.history[last, (position + 1).clamp(min=0)]
    wrong = (position < 0) | (shown != rows.target[row_id])
    if wrong.any():
        row, other = int(row_id[wrong][0]), int(last[wrong][0])
        raise DataError(
            f"training.positions: training rows {row} and {other} are of one user, but the "
            "history of the second does not show the target of the first where their ordinals "
            "say; such rows are trained with training.positions=last"
        )
