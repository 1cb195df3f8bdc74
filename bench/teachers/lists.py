"""The lists of a teacher, before they are files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data.examples import Examples


@dataclass(frozen=True)
class Lists:
    """Lists of R rows.

    Attributes:
        ids: int32 [R, K_T], ids 1..N, best first.
        distances: float32 [R, K_T], ascending.
        truth: float32 [R], the distance of each row's own target.
    """

    ids: NDArray[np.int32]
    distances: NDArray[np.float32]
    truth: NDArray[np.float32]

    def in_units(self, unit: float) -> Lists:
        """The same with distances in another unit."""
        size = np.float32(unit)
        return Lists(self.ids, self.distances / size, self.truth / size)

    def targets_in_top(self, rows: Examples, k: int) -> float:
        """Share of the rows whose own target is among their first k items."""
        return float((self.ids[:, :k] == rows.target[:, None]).any(1).mean())
