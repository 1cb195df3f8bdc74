"""No distillation."""

from __future__ import annotations

from bench.distillation import Method
from bench.registry import register_method


@register_method("none")
class NoDistillation(Method):
    """The undistilled student: the base objective alone.

    Every gain in a leaderboard is measured against this row.

    Takes: nothing of a teacher.

    Costs: no parameters and no time beyond the student's own.

    Departs: from what RecBole trains in the padding item alone, which no objective sees.
    """
