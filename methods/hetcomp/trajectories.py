"""Lists of several teachers at several states of their training, and what they agree on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.distillation import Knowledge
from bench.distillation.lists import contains, first

BLOCK = 256
"""Rows that are worked on at once outside training steps."""


class Trajectories:
    """The teachers' lists with what a row may not be taught (target, history) left out.

    Attributes:
        names: the M teachers used.
        states: C, the number of states of each; the last one is converged.
        listed: K_T, the length of a list.
        covered: bool [R], rows of which the teachers speak.
    """

    def __init__(
        self, knowledge: Knowledge, names: Sequence[str] | None, *, exclude_history: bool
    ) -> None:
        """Take the teachers called `names`, or all of them.

        Raises:
            ValueError: a teacher is not there.
        """
        assert knowledge.trajectories is not None and knowledge.rows is not None  # noqa: S101
        known = knowledge.trajectory_names
        self.names = known if names is None else tuple(names)
        if not self.names or not set(self.names) <= set(known):
            raise ValueError(f"teachers={list(self.names)}: there are {', '.join(known)}")
        self.rows, self.exclude_history = knowledge.rows, exclude_history
        # Memory-mapped: rows are gathered from it, and the whole is never copied.
        self._table = knowledge.trajectories
        self._models = [known.index(name) for name in self.names]
        _, self.states, rows, self.listed = self._table.shape
        everything = torch.ones(rows, dtype=torch.bool, device=self._table.device)
        self.covered = everything if knowledge.covered is None else knowledge.covered

    def take(self, teacher: int, state: Tensor, rows: Tensor, k: int) -> Tensor:
        """The first k usable items of a teacher's lists of `rows` [n] at `state` [n].

        Returns:
            int64 [n, min(k, K_T)], 0 where a list is too short or a row is not covered.
        """
        ids = self._table[self._models[teacher], state, rows].long()
        allowed = ~contains(self.excluded(rows), ids) & self.covered[rows].unsqueeze(1)
        return first(ids, allowed, k)[0]

    def constant(self, teacher: int) -> bool:
        """Whether a teacher has no course of training: its states are all the same."""
        some = self._table[self._models[teacher], :, :BLOCK]
        return bool((some == some[-1]).all())

    def excluded(self, rows: Tensor) -> Tensor:
        """Ids [n, S] that no list of `rows` [n] may hold: padding, target and history."""
        target = self.rows.target[rows].unsqueeze(1)
        excluded = [torch.zeros_like(target), target]
        return torch.cat(excluded + [self.rows.history[rows]] * self.exclude_history, dim=1)

    def consensus(self, states: Tensor, rows: Tensor, importance: Tensor, k: int) -> Tensor:
        """Ensemble lists of `rows` [n], the teachers being at `states` [M, n].

        Args:
            states: int64 [M, n].
            rows: int64 [n].
            importance: float32 [K_T], what an item gains by each rank in a teacher's list.
            k: items wanted.

        Returns:
            int32 [n, k], best first, 0 where the teachers list fewer.
        """
        lists = torch.zeros(len(rows), k, dtype=torch.int32, device=rows.device)
        for place in torch.arange(len(rows), device=rows.device).split(BLOCK):
            parts = [
                self.take(m, states[m, place], rows[place], self.listed)
                for m in range(len(self.names))
            ]
            best = consensus(torch.stack(parts, dim=1), importance)[:, :k]
            lists[place, : best.shape[1]] = best.to(torch.int32)
        return lists


def consensus(ids: Tensor, importance: Tensor) -> Tensor:
    """All items of M lists, by the sum of what they gain in each.

    Args:
        ids: int64 [n, M, K], best first, 0 where there is none.
        importance: float32 [K], positive.

    Returns:
        int64 [n, M K], each item once, 0 at the end; equal sums by ascending id.
    """
    teachers = ids.shape[1]
    items, order = ids.flatten(1).sort(dim=1, stable=True)
    gain = importance.repeat(teachers)[order]
    total = gain.clone()
    # Equal items now lie side by side, at most M of them: their gains are added to the first, in
    # the order of the teachers (a scatter would add in any order, and ties would not repeat).
    for apart in range(1, teachers):
        same = items[:, apart:] == items[:, :-apart]
        total[:, :-apart] += gain[:, apart:] * same
    again = torch.zeros_like(items, dtype=torch.bool)
    again[:, 1:] = items[:, 1:] == items[:, :-1]
    total = total.masked_fill(again | (items == 0), -1.0)
    total, order = total.sort(dim=1, descending=True, stable=True)
    return items.gather(1, order).masked_fill(total < 0, 0)
