"""How far the lists of a student are from those of its teachers (HetComp)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.distillation import Student

from .trajectories import BLOCK, Trajectories


def gains(depth: int, form: str) -> Tensor:
    """float32 [T, T], what an item at rank t of the student and rank r of the teacher counts.

    (2^{exp(-x / 10)} - 1) / log2(t + 2), where x is t (`official`) or r (`teacher-rank`).
    """
    rank = torch.arange(depth, dtype=torch.float64)
    gain = 2 ** torch.exp(-rank / 10) - 1
    by_rank = gain.unsqueeze(0) if form == "teacher-rank" else gain.unsqueeze(1)
    return (by_rank / torch.log2(rank + 2).unsqueeze(1)).expand(depth, depth).float()


def discrepancy(student: Tensor, teacher: Tensor, gains: Tensor) -> Tensor:
    """D = 1 - DCG / IDCG of two lists.

    Args:
        student: int64 [n, T], best first, 0 where there is none.
        teacher: int64 [n, T], likewise.
        gains: float32 [T, T], see `gains`.

    Returns:
        float32 [n] in [0, 1]: 0 for equal lists, 1 for lists without a common item.
    """
    common = (student.unsqueeze(2) == teacher.unsqueeze(1)) & (student > 0).unsqueeze(2)
    found = common.flatten(1).to(gains.dtype) @ gains.flatten()
    length = torch.minimum((student > 0).sum(dim=1), (teacher > 0).sum(dim=1))
    ideal = F.pad(gains.diagonal().cumsum(0), (1, 0))[length]
    return 1 - found / ideal.clamp(min=1e-12)


class Probe:
    """Compares the student with its teachers on a fixed sample of the training rows."""

    def __init__(
        self,
        student: Student,
        trajectories: Trajectories,
        rows: Tensor,
        group: Tensor,
        gains: Tensor,
    ) -> None:
        """Args: rows, group: int64 [n], the sample and its groups. gains: float32 [T, T]."""
        self.student, self.trajectories = student, trajectories
        self.rows, self.group, self.gains = rows, group, gains

    @torch.no_grad()
    def discrepancies(self) -> Callable[[Tensor], Tensor]:
        """Encode the sample once.

        Returns:
            A function of states [M, G] to mean discrepancies [M, G] of each group, >= 1e-4.
        """
        self.student.eval()
        blocks = self.rows.split(BLOCK)
        own = [self._student_lists(rows) for rows in blocks]
        self.student.train()

        def mean(teacher: int, state: Tensor) -> Tensor:
            values = [
                discrepancy(
                    lists, self.trajectories.take(teacher, at, rows, len(self.gains)), self.gains
                )
                for lists, at, rows in zip(own, state[self.group].split(BLOCK), blocks, strict=True)
            ]
            return mean_by_group(torch.cat(values), self.group, len(state))

        # Four digits, as in the released program: rounding errors do not move a pair.
        return lambda states: (
            torch.stack([mean(teacher, state) for teacher, state in enumerate(states)])
            .round(decimals=4)
            .clamp(min=1e-4)
        )

    def _student_lists(self, rows: Tensor) -> Tensor:
        """The student's best allowed items [n, T] for `rows` [n], 0 where there are fewer."""
        train = self.trajectories.rows
        hidden = self.student.encode(train.history[rows], train.length[rows], train.user[rows])
        scores = self.student.logits(hidden)
        scores.scatter_(1, self.trajectories.excluded(rows), -torch.inf)
        values, best = scores.topk(len(self.gains), dim=1)
        return best.masked_fill(values == -torch.inf, 0)


def some_rows(unit: Tensor, covered: Tensor, most: int) -> Tensor:
    """Ascending ids [n] of at most `most` rows of every unit [R], drawn among the covered ones."""
    rows = torch.randperm(len(unit)).to(unit.device)
    rows = rows[covered[rows]]
    rows = rows[unit[rows].argsort(stable=True)]
    units = unit[rows]
    place = torch.arange(len(rows), device=unit.device) - torch.searchsorted(units, units)
    return rows[place < most].sort().values


def mean_by_group(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """float64 [G], means of `values` [n] by `group` [n]; 0 for a group without any."""
    total = torch.zeros(groups, dtype=torch.float64, device=values.device)
    total.index_add_(0, group, values.double())
    return total / group.bincount(minlength=groups).clamp(min=1)
