"""Full ranking of the test rows, beside RecBole's and that of a plain DLLM2Rec."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

from benchmarks.parts.comparison import Line, Run, Timed, compared, measured
from benchmarks.served import Served


def lines(run: Run) -> Iterator[Line]:
    """A pass over all test rows and its metrics; half as many turns as of steps."""
    with contextlib.ExitStack() as stack:

        def timed(served: Served, name: str) -> Timed:
            count = stack.enter_context(served).call("count")
            return Timed(name.format(count), partial(served.call, "run"), 1 / count)

        own = timed(run.suite("suite:Evaluation"), "full ranking of {:,} rows")
        others = [
            timed(run.of_recbole("Evaluation"), "RecBole, {:,} rows"),
            timed(run.suite("plain_dllm2rec:Evaluation"), "plain DLLM2Rec, {:,} rows"),
        ]
        taken = measured([own, *others], -(-run.repetitions // 2), 0)
        yield from compared("evaluation", own, others, taken)
