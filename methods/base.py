"""The interface of a distillation method.

A method is one file in `methods/` (or a plug-in file) with one registered class. It sees tensors
that are already on the right device; it never opens a file, names a device or owns an optimiser.
Shapes use B rows in a batch, L history length, N items (ids 1..N, 0 pads), d student width, D
teacher width, R training rows, K_T stored teacher items per row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn


class MethodConfig(BaseModel):
    """Base of every method's settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Knowledge:
    """What is known beside the rows: the teacher's signals and the training statistics.

    A signal that the teacher does not offer is None; a method only reads those it `needs`.

    Attributes:
        target_counts: float32 [N + 1], how often each item is a training target; entry 0 is 0.
        embeddings: float32 [N + 1, D], the teacher's item embeddings; row 0 is zero.
        rankings: int64 [R, K_T], the teacher's list for every training row, best first, ids 1..N.
        distances: float32 [R, K_T], non-decreasing along a row; smaller is surer.
        covered: bool [R], False where the teacher said nothing about a row (its list is filler).
        truth_distance: float32 [R], distance between what the teacher generated for a row and
            the row's true target.
    """

    target_counts: Tensor
    embeddings: Tensor | None = None
    rankings: Tensor | None = None
    distances: Tensor | None = None
    covered: Tensor | None = None
    truth_distance: Tensor | None = None

    def to(self, device: torch.device) -> Knowledge:
        """The same knowledge with every tensor on `device`."""
        moved = {k: v.to(device) for k, v in vars(self).items() if v is not None}
        return Knowledge(**moved)


@dataclass(frozen=True)
class Batch:
    """B training rows.

    Attributes:
        row_id: int64 [B], index of each row in the training table (addresses the teacher).
        history: int64 [B, L], ids 1..N, padded with 0 on the right.
        length: int64 [B], 1..L.
        target: int64 [B], 1..N.
        user: int64 [B].
        negative: int64 [B], one uniform item outside history and target, where the objective
            samples one; else None.
        generator: source of every random number that a method draws in this step.
    """

    row_id: Tensor
    history: Tensor
    length: Tensor
    target: Tensor
    user: Tensor
    negative: Tensor | None
    generator: torch.Generator


class Output(Protocol):
    """What the student says about a batch; the catalogue block [B, N + 1] is made at most once."""

    hidden: Tensor
    """float32 [B, d], the encoded histories."""

    def scores(self, ids: Tensor) -> Tensor:
        """Differentiable logits [B, K] of chosen items `ids` [B, K]."""

    def log_probs(self, ids: Tensor) -> Tensor:
        """Differentiable log-softmax over the real items, [B, K], at `ids` [B, K]."""

    def top_k(self, k: int) -> Tensor:
        """Ids [B, min(k, N)] of the student's best items now, best first; no gradient."""

    @property
    def logits(self) -> Tensor:
        """Differentiable logits [B, N + 1]; column 0 (padding) is -inf."""


class Student(Protocol):
    """A RecBole model behind the suite's adapter, as a method sees it."""

    n_items: int
    width: int
    objective: str
    """Name of the base objective: ce, bpr, bce or dros."""

    @property
    def item_offset(self) -> nn.Parameter:
        """float32 [N + 1, d], the student's own item embeddings; row 0 is zero."""

    def fuse(self, fusion: Callable[[], Tensor], *, output: bool = True) -> None:
        """Add `fusion()` [N + 1, d] to the item table that the encoder reads.

        With `output` the tied scoring table gets it too. When training ends the sum is folded
        into the student, which is then a plain model of the usual size.
        """


class Method(nn.Module):
    """Base of all methods: no terms, nothing attached.

    Parameters that a subclass registers as a module (projectors, prompts) are trained together
    with the student and are dropped afterwards.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    needs: ClassVar[frozenset[str]] = frozenset()
    """Signals without which the method cannot run; set by `register_method`."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.derived: dict[str, Any] = {}
        """What `attach` derived from the teacher; kept in the record beside the settings."""

    @classmethod
    def signals(cls, config: Any) -> frozenset[str]:
        """Teacher signals that the method needs under `config`.

        Some of `embeddings`, `rankings`, `confidence` (distances of the listed items) and
        `truth-distance`.
        """
        return cls.needs

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        """Build what the method adds to the student; called once, after initialisation."""

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Named, already weighted terms (scalars) that the loop adds to the base loss."""
        return {}
