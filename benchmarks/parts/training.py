"""Training steps, beside RecBole's, those of a plain DLLM2Rec, and the matrix products alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from bench.training.replay import WARM_UP
from benchmarks.parts.comparison import Line, Run, Timed, compared, measured

BF16 = "ce-bf16"
"""The case that a CPU must have instructions for."""

CASES: dict[str, dict[str, Any]] = {
    "ce": {"objective": "ce"},
    BF16: {"objective": "ce", "precision": "bf16"},
    "bce": {"objective": "bce"},
    "bpr": {"objective": "bpr"},
    "dros": {"objective": "dros"},
    "ce-checkpointing": {"objective": "ce", "checkpointing": True},
    "ce-half-positions": {"objective": "ce", "positions": "half"},
    "ce-all-positions": {"objective": "ce", "positions": "all"},
    "bce-half-positions": {"objective": "bce", "positions": "half"},
    "bce-all-positions": {"objective": "bce", "positions": "all"},
}
"""Settings of `training` by the name of a case. Epochs are compared, so that a setting may take
more or fewer steps for one."""

CUDA_CASES: dict[str, dict[str, Any]] = {
    "ce-tf32": {"objective": "ce", "precision": "tf32"},
    "ce-cuda-graphs": {"objective": "ce", "cuda_graphs": True},
    "bce-cuda-graphs": {"objective": "bce", "cuda_graphs": True},
    "dros-cuda-graphs": {"objective": "dros", "cuda_graphs": True},
}
"""More of them, on a CUDA device."""
_SETTINGS = CASES | CUDA_CASES

DLLM2REC = "dllm2rec"
"""Name of the case of the whole method, under the objective dros."""

TEACHER = 4096
"""D, the width of the embeddings that DLLM2Rec publishes (a LLaMA's)."""
PLAIN_BATCH = 256
"""Rows of a step where the plain DLLM2Rec is measured: its own default."""

_RECBOLE = {"ce": "CE"}
"""RecBole's loss beside an objective; BPR where it is not named."""
_WHOLE_CATALOGUE = ("ce", "dros")
"""Objectives that score every item; the others score a pair."""
_WARM_UP = WARM_UP + 1
"""Steps that are not measured: buffers are made, memory is touched for the first time, and a step
that is replayed is recorded."""


def lines(run: Run) -> Iterator[Line]:
    """Steps of the chosen objectives at every batch, then those of dllm2rec."""
    chosen = [name for name in run.objectives if name in _SETTINGS]
    for batch in run.batches if chosen else ():
        with contextlib.ExitStack() as stack:
            yield from _Batch(run, batch, stack).lines(chosen)
    if DLLM2REC in run.objectives:
        with contextlib.ExitStack() as stack:
            yield from _dllm2rec(run, stack)


class _Batch:
    """All cases at one size of batch: they take turns together."""

    def __init__(self, run: Run, batch: int, stack: contextlib.ExitStack) -> None:
        self.run, self.batch, self.stack = run, batch, stack

    def lines(self, names: Sequence[str]) -> Iterator[Line]:
        objectives = {name: _SETTINGS[name]["objective"] for name in names}
        own = {name: self._suite(name) for name in names}
        beside = {
            loss: self._recbole(loss)
            for loss in sorted({_RECBOLE.get(o, "BPR") for o in objectives.values()})
        }
        least = {
            whole: self._floor(whole)
            for whole in sorted({o in _WHOLE_CATALOGUE for o in objectives.values()})
        }
        others = [timed for group in (beside, least) for each in group.values() for timed in each]
        taken = measured([*own.values(), *others], self.run.repetitions, _WARM_UP)
        for name, objective in objectives.items():
            held_against = [
                *beside[_RECBOLE.get(objective, "BPR")],
                *least[objective in _WHOLE_CATALOGUE],
            ]
            yield from compared("training", own[name], held_against, taken)

    def _suite(self, name: str) -> Timed:
        training = {**_SETTINGS[name], "batch_size": self.batch}
        served = self.stack.enter_context(self.run.suite("suite:Training", training=training))
        title = f"{name}, batch {self.batch}"
        return Timed(title, partial(served.call, "run"), served.call("steps"))

    def _recbole(self, loss: str) -> list[Timed]:
        served = self.stack.enter_context(
            self.run.of_recbole("Training", batch=self.batch, loss=loss)
        )
        steps = served.call("steps")
        return [
            Timed(f"RecBole, {loss}", partial(served.call, "run", anomaly=True), steps),
            Timed(
                f"RecBole, {loss}, no anomaly detection",
                partial(served.call, "run", anomaly=False),
                steps,
            ),
        ]

    def _floor(self, whole: bool) -> list[Timed]:
        scored = self.run.items if whole else 2
        served = self.stack.enter_context(
            self.run.serve(
                "floor:Floor",
                batch=self.batch,
                history=self.run.data.config.protocol.history,
                scored=scored,
                device=self.run.device,
            )
        )
        steps = -(-self.run.rows // self.batch)
        title = f"products of a step, {scored:,} items a row"
        return [
            Timed(f"{title}, at their shapes", partial(served.call, "at_shapes"), steps),
            Timed(f"{title}, at the best rate", partial(served.call, "at_best"), steps),
        ]


def _dllm2rec(run: Run, stack: contextlib.ExitStack) -> Iterator[Line]:
    training = {"objective": "dros", "batch_size": PLAIN_BATCH}
    suite = stack.enter_context(
        run.suite("suite:Training", training=training, method="dllm2rec", teacher=TEACHER)
    )
    plain = stack.enter_context(
        run.suite("plain_dllm2rec:Training", batch=PLAIN_BATCH, teacher=TEACHER)
    )
    name = f"dllm2rec, robust, K = 10, D = {TEACHER}, batch {PLAIN_BATCH}"
    own = Timed(name, partial(suite.call, "run"), suite.call("steps"))
    other = Timed("plain DLLM2Rec", partial(plain.call, "run"), plain.call("steps"))
    yield from compared("training", own, [other], measured([own, other], run.repetitions, _WARM_UP))
