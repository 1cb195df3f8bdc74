"""A machine's share of a grid, where no disk is shared: every trial is in exactly one share."""

from __future__ import annotations

import dataclasses
import re

from bench.config.grid import Grid
from bench.errors import ConfigError
from bench.plan import TrialSpec, digest


@dataclasses.dataclass(frozen=True)
class Share:
    """Share `number`, counted from 1, of `of`.

    The hash of what is planned decides, without the fingerprints of data and teachers, which every
    machine may have made for itself: the machines need not agree on anything but the command.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """The share that is written as `3/8`.

        Raises:
            ConfigError: not of that form.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ConfigError(f"'{text}' is no share: write such as 3/8, from 1/8 to 8/8")
        return cls(int(match[1]), int(match[2]))

    def holds(self, spec: TrialSpec) -> bool:
        content = spec.model_dump(mode="json", exclude={"overrides"})
        return int(digest(content)[:16], 16) % self.of == self.number - 1

    def of_grid(self, grid: Grid) -> Grid:
        """The grid with the trials of this share alone, and what they stand on."""
        trials = [spec for spec in grid.trials if self.holds(spec)]
        wanted = {spec.teacher_name for spec in trials} | {*grid.references}
        data = {spec.data_name for spec in trials} | {name[:2] for name in grid.references}
        return dataclasses.replace(
            grid,
            trials=trials,
            data={name: source for name, source in grid.data.items() if name in data},
            teachers={name: source for name, source in grid.teachers.items() if name in wanted},
            notes=[
                *grid.notes,
                f"share {self.number}/{self.of}: {len(trials)} of {len(grid.trials)} trials",
            ],
        )
