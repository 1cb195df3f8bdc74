"""Dynamic knowledge construction of HetComp: which state of each teacher a student learns from.

SeongKu Kang et al., "Distillation from Heterogeneous Models for Top-K Recommendation", WWW 2023.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from bench.distillation import MethodConfig, Student

from .discrepancy import Probe, gains, some_rows
from .trajectories import Trajectories


class CurriculumConfig(MethodConfig):
    """When a student is shown the next state of a teacher."""

    dynamic: bool = Field(True, description="False takes the converged lists from the start")
    period: PositiveInt = Field(1, description="p, epochs between two looks at the student")
    alpha: PositiveFloat = Field(1.05, description="improvement for which a pair waits, at first")
    decay: float = Field(0.995, gt=0, lt=1, description="factor of alpha from look to look")
    granularity: Literal["user", "row", "global"] = Field(
        "user", description="what has a state of its own with every teacher"
    )
    rows_per_user: PositiveInt = Field(5, description="rows looked at, at most")
    depth: PositiveInt = Field(50, description="length of the lists that are compared")
    discrepancy: Literal["official", "teacher-rank"] = Field(
        "official", description="an item counts by its rank in the student's list, or the teacher's"
    )
    finish_epoch: PositiveInt | None = Field(
        None, description="epoch from which all teachers are converged, whatever the student does"
    )


class Curriculum:
    """Looks at the student every p epochs and moves its teachers from state to state."""

    def __init__(
        self, config: CurriculumConfig, student: Student, trajectories: Trajectories
    ) -> None:
        self.config = config
        user = trajectories.rows.user
        unit = torch.arange(len(user), device=user.device)
        unit = unit if config.granularity == "row" else user
        group = torch.zeros_like(user) if config.granularity == "global" else unit
        self.names = trajectories.names
        self.group = group.unique(return_inverse=True)[1]
        last = trajectories.states - 1
        start = [last * trajectories.constant(m) for m in range(len(self.names))]
        now = torch.tensor(start, device=user.device).unsqueeze(1)
        self.states = States(now.repeat(1, int(self.group.max()) + 1), last)
        if not config.dynamic:
            self.states.finish()
        depth = min(config.depth, trajectories.listed, student.n_items)
        rows = some_rows(unit, trajectories.covered, config.rows_per_user)
        weights = gains(depth, config.discrepancy).to(user.device)
        self.probe = Probe(student, trajectories, rows, self.group[rows], weights)

    def of_rows(self, rows: Tensor) -> Tensor:
        """States [M, n] of the teachers of `rows` [n]."""
        return self.states.now[:, self.group[rows]]

    def summary(self) -> dict[str, float]:
        """The mean state of every teacher."""
        means = self.states.now.double().mean(dim=1).tolist()
        return {f"state_{n}": mean for n, mean in zip(self.names, means, strict=True)}

    def advance(self, epoch: int) -> Tensor:
        """Do what is due before `epoch`, counted from 1.

        Returns:
            int64 [n], the rows a teacher of which has moved.
        """
        before, passes = self.states.now, epoch - 1
        if self.config.finish_epoch is not None and epoch >= self.config.finish_epoch:
            self.states.finish()
        elif passes > 0 and passes % self.config.period == 0 and not self.states.finished:
            look = passes // self.config.period
            self.states.look(self.probe.discrepancies(), self.threshold(look))
        moved = (self.states.now > before).any(dim=0)
        return moved[self.group].nonzero().squeeze(1)

    def threshold(self, look: int) -> float:
        """What a ratio must exceed at look k; it falls below 1, so that no pair waits for ever."""
        return self.config.alpha * self.config.decay**look


class States:
    """States v of (teacher, group) pairs: they never decrease, and end at C - 1."""

    def __init__(self, now: Tensor, last: int) -> None:
        """Args: now: int64 [M, G], where the pairs begin. last: C - 1."""
        self.now, self.last = now, last
        self._before: Tensor | None = None

    @property
    def finished(self) -> bool:
        return bool((self.now == self.last).all())

    def finish(self) -> None:
        self.now = torch.full_like(self.now, self.last)

    def look(self, discrepancy: Callable[[Tensor], Tensor], threshold: float) -> None:
        """Move every pair on, but those that near their next state by less than the threshold.

        The first look moves nothing; it notes what the next one compares with.

        Args:
            discrepancy: takes states [M, G], gives the student's positive distances from them.
            threshold: ratio of the last distance to this one above which a pair moves.
        """
        now = discrepancy(self._next())
        if self._before is None:
            self._before = now
            return
        ratio = self._before / now
        # A ratio below 1: the student goes away from the state, so waiting for it is no use.
        moved = ((ratio > threshold) | (ratio < 1)) & (self.now < self.last)
        self.now = self.now + moved
        self._before = torch.where(moved, discrepancy(self._next()), self._before)

    def _next(self) -> Tensor:
        return (self.now + 1).clamp(max=self.last)
