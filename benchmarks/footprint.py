"""What training and ranking take of memory, beyond model, optimiser and data."""

from __future__ import annotations

from typing import Any

from bench.evaluation.ranking import rank_targets
from bench.training.config import TrainingConfig
from bench.training.rows import DeviceRows
from benchmarks import memory
from benchmarks.case import Case
from benchmarks.suite import STUDENT
from benchmarks.world import Sizes, World, make_world


class Footprint:
    """A student in training, in a process that does nothing else."""

    def __init__(self, items: int, rows: int, training: dict[str, Any]) -> None:
        config = TrainingConfig(**training)
        # A step on next to nothing loads what code there is to load.
        _case(_world(100, 100), config).run()
        world = _world(items, rows)
        self.rows = world.rows
        self.case = _case(world, config)
        parameters = sum(p.numel() * p.element_size() for p in self.case.student.parameters())
        # Adam's two tables are made in the first step.
        self.before = memory.resident() + 2 * parameters
        memory.forget_high_water_mark()

    def train(self, steps: int) -> dict[str, int]:
        """Bytes at the peak, and of them those beyond model, optimiser, data and program."""
        for _ in range(steps):
            self.case.run()
        return self._peak()

    def rank(self, rows: int) -> dict[str, int]:
        """The same of a full ranking of the first `rows` rows."""
        table = self.rows
        columns = (table.history, table.length, table.target, table.user, table.ordinal)
        few = DeviceRows(*(column[:rows] for column in columns))
        rank_targets(self.case.student.eval(), few)
        return self._peak()

    def _peak(self) -> dict[str, int]:
        peak = memory.high_water_mark()
        return {"peak": peak, "above": peak - self.before}


def _world(items: int, rows: int) -> World:
    sizes = Sizes(items, rows, teacher=1, listed=1, models=1, states=1, trajectory_listed=1)
    return make_world(sizes)


def _case(world: World, config: TrainingConfig) -> Case:
    return Case(STUDENT, "none", {}, 0, world, config)
