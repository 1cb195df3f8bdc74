"""Peaks of training and of ranking, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import memory
from benchmarks.parts.comparison import Line, Run
from benchmarks.parts.training import CASES

_STEPS = 3
_LARGE_BATCH = 256
_RANKED = 1024
"""Rows that are ranked: several blocks of `bench.evaluation.ranking`."""


def lines(run: Run) -> Iterator[Line]:
    """On the CPU only; nothing where the system does not tell.

    A block is [B, N + 1] float32, the logits of a step. bce, which has none, tells how much of the
    peak is the encoder's.
    """
    if not memory.is_known():
        return
    batch = max(run.batches)
    rows = min(run.rows, 10 * batch)
    for name in ("ce", "bce", "ce-checkpointing"):
        training = {**CASES[name], "batch_size": batch}
        with run.serve(
            "footprint:Footprint", items=run.items, rows=rows, training=training
        ) as served:
            above = served.call("train", steps=_STEPS)["above"]
        case = f"{name}, batch {batch}, {run.items:,} items, above model, optimiser and data"
        yield Line("memory", case, "blocks", above / (4 * batch * (run.items + 1)))
    training = {"objective": "bce", "batch_size": _LARGE_BATCH}
    with run.serve("footprint:Footprint", items=run.large, rows=rows, training=training) as served:
        for case, done in (
            (f"bce, batch {_LARGE_BATCH}", served.call("train", steps=_STEPS)),
            ("then ranking", served.call("rank", rows=_RANKED)),
        ):
            title = f"{case}, {run.large:,} items, whole process"
            yield Line("memory", title, "GiB", done["peak"] / 2**30)
