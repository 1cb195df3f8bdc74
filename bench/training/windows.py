"""Windows: training rows of one user that are read in one pass, each at its own position.

The row before a row (same user, ordinal - 1) has that row's last item as its target. So a history
of L items predicts, at its successive positions, the targets of up to L rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bench.errors import DataError
from bench.training.rows import DeviceRows, Portion, stored


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
        self.size = rows.history.shape[1]
        span = rows.ordinal.max() + 1
        # By user, the latest row first: that of a window is the one whose history is read. Large
        # tables are int32 but for a moment: of 20 million rows, int64 takes 160 MB each.
        whole = slice(None) if chosen is None else chosen
        order = (rows.user[whole] * span).sub_(rows.ordinal[whole]).argsort()
        row_id = (order if chosen is None else chosen[order]).int()
        del order
        user, ordinal = rows.user[row_id].int(), rows.ordinal[row_id].int()
        first, count = _runs(user)
        window = (
            ordinal[first]
            .repeat_interleave(count)
            .sub_(ordinal)
            .div_(stride, rounding_mode="floor")
        )
        first, count = _runs(user, window)
        del user, window
        last = row_id[first].repeat_interleave(count)
        position = rows.length[last].sub_(1).sub_(rows.ordinal[last]).add_(ordinal).int()
        del ordinal
        _check_targets(rows, row_id, last, position)
        self.row_id, self.position = stored(row_id), stored(position)
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


def _runs(*columns: Tensor) -> tuple[Tensor, Tensor]:
    """Where runs of equal values in all columns begin and how long they are: int64 [W] each."""
    size, device = len(columns[0]), columns[0].device
    begins = torch.ones(size, dtype=torch.bool, device=device)
    begins[1:] = False
    for column in columns:
        begins[1:] |= column[1:] != column[:-1]
    first = begins.nonzero()[:, 0]
    return first, first.diff(append=torch.tensor([size], device=device))


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
