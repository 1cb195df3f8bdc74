"""Base objectives: what a student is trained for, with or without a teacher.

Means are over the examples of the batch; column 0 (padding) never enters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.distillation.losses import popularity_exponents
from bench.training.output import BlockBuffers, StepOutput
from bench.training.precision import encoding, factors

if TYPE_CHECKING:
    from bench.distillation import Batch, Output
    from bench.training.config import TrainingConfig

Term = Callable[["Batch", "Output"], Tensor]
"""The loss of a batch, a scalar."""


@dataclass(frozen=True)
class Objective:
    """A base objective, and what others need to know of it.

    Attributes:
        name: value of `training.objective`.
        make: its term, of training settings, target counts float32 [N + 1] and the student.
        samples_negatives: it compares the target with `Batch.negative`.
        reads_whole_table: every step reads the whole scoring table.
        is_shift_invariant: adding a number to all scores of an example changes nothing.
        is_robust: it has a robust term; after that of a method's list it needs no sweep.
    """

    name: str
    make: Callable[[TrainingConfig, Tensor, Any], Term]
    samples_negatives: bool = False
    reads_whole_table: bool = False
    is_shift_invariant: bool = False
    is_robust: bool = False


def cross_entropy(batch: Batch, output: Output) -> Tensor:
    """Softmax over the whole catalogue: -mean log softmax(s)[y]."""
    return -output.log_probs(batch.target.unsqueeze(1)).mean()


def bayesian_personalised(batch: Batch, output: Output) -> Tensor:
    """BPR (Rendle et al., UAI 2009): mean softplus(-(s_y - s_n)), n uniform."""
    positive, negative = _pair(batch, output)
    return F.softplus(negative - positive).mean()


def binary_cross_entropy(batch: Batch, output: Output) -> Tensor:
    """SASRec's (Kang & McAuley, ICDM 2018): mean over the 2B scores of positive and negative."""
    positive, negative = _pair(batch, output)
    return 0.5 * (F.softplus(-positive) + F.softplus(negative)).mean()


class _Dros:
    """bce plus a distributionally robust term over the catalogue (Yang et al., SIGIR 2023)."""

    def __init__(self, config: TrainingConfig, target_counts: Tensor, student: Any) -> None:
        self.weight, self.temperature = config.dros_weight, config.dros_temperature
        self.exponents = popularity_exponents(target_counts)

    def __call__(self, batch: Batch, output: Output) -> Tensor:
        robust = output.robust(batch.target.unsqueeze(1), self.exponents, self.temperature)
        return binary_cross_entropy(batch, output) + self.weight * robust.mean()


class _Cloze:
    """BERT4Rec's (Sun et al., CIKM 2019): hidden items of history and target are predicted.

    f ce + (1 - f) times the mean of -log softmax over the hidden items, where f is the student's
    share of samples that hide the target alone. The paper and RecBole (`ft_ratio`) draw these at
    random; here every example is both, which has the same expectation.
    """

    def __init__(self, config: TrainingConfig, target_counts: Tensor, student: Any) -> None:
        self.student, self.precision = student, config.precision
        self.buffers = BlockBuffers()

    def __call__(self, batch: Batch, output: Output) -> Tensor:
        with encoding(self.precision, batch.target.device):
            hidden, ids, counts = self.student.cloze(batch.history, batch.length, batch.target)
        hidden_items = StepOutput(
            hidden.float(), self.student, self.buffers, factors=factors(self.precision)
        )
        log_probs = hidden_items.log_probs(ids.unsqueeze(1)).squeeze(1)
        cloze = -(log_probs * counts).sum() / counts.sum()
        share: float = self.student.last_share
        return share * cross_entropy(batch, output) + (1 - share) * cloze


def _pair(batch: Batch, output: Output) -> tuple[Tensor, Tensor]:
    if batch.negative is None:
        raise ValueError("this objective needs a sampled negative in the batch")
    scores = output.scores(torch.stack([batch.target, batch.negative], dim=1))
    return scores[:, 0], scores[:, 1]


def _always(term: Term) -> Callable[..., Term]:
    return lambda *_: term


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("ce", _always(cross_entropy), reads_whole_table=True, is_shift_invariant=True),
        Objective(
            "bpr", _always(bayesian_personalised), samples_negatives=True, is_shift_invariant=True
        ),
        Objective("bce", _always(binary_cross_entropy), samples_negatives=True),
        Objective("dros", _Dros, samples_negatives=True, reads_whole_table=True, is_robust=True),
        Objective("cloze", _Cloze, reads_whole_table=True, is_shift_invariant=True),
    )
}
"""By the name that `training.objective` has (`bench.training.config.ObjectiveName`)."""
