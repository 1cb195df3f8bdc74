"""Base objectives: what a student is trained for, with or without a teacher.

Means are over the examples of the batch; column 0 (padding) never enters.
"""

from __future__ import annotations

import math
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
        samples_negatives: batches have a `negative` for each row, which it compares the target
            with, or a method does.
        shares_negatives: it compares the target with `Batch.shared`.
        reads_whole_table: every step reads the whole scoring table.
        is_shift_invariant: adding a number to all scores of an example changes nothing.
        is_robust: it has a robust term; after that of a method's list it needs no sweep.
    """

    name: str
    make: Callable[[TrainingConfig, Tensor, Any], Term]
    samples_negatives: bool = False
    shares_negatives: bool = False
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


class _SampledCrossEntropy:
    """Softmax over the target and shared negatives, corrected for how these are drawn.

    -s_y + log( e^{s_y} + sum_{n != y} e^{s_n - log(K q_n)} ) over the K draws n, each from q
    (Bengio & Senecal, IEEE TNN 2008; in-batch: Yi et al., RecSys 2019): the sum is an unbiased
    estimate of that of all items but y. The target is always there, so it has no correction, and
    draws of it do not count (Khrylchenko et al., RecSys 2025).
    """

    def __init__(self, config: TrainingConfig, target_counts: Tensor, student: Any) -> None:
        counts = target_counts.clone()
        if config.proposal == "uniform":
            counts[1:] = 1
        self.log_proposal = (counts / counts[1:].sum()).log()

    def __call__(self, batch: Batch, output: Output) -> Tensor:
        shared = _shared(batch)
        positive = output.scores(batch.target.unsqueeze(1))
        negative = output.scores_of_all(shared) - (
            self.log_proposal[shared] + math.log(len(shared))
        )
        negative = negative.masked_fill(shared == batch.target.unsqueeze(1), -torch.inf)
        return (torch.cat([positive, negative], dim=1).logsumexp(dim=1) - positive[:, 0]).mean()


class _CalibratedBinaryCrossEntropy:
    """gBCE of gSASRec (Petrov & Macdonald, RecSys 2023), with negatives that a batch shares.

    -(beta log sigma(s_y) + sum_n log(1 - sigma(s_n))) / (K + 1), with alpha = K / (N - 1), at most
    1, and beta = alpha (t (1 - 1 / alpha) + 1 / alpha). The paper draws negatives for every
    sequence; draws of a row's own target do not count here.
    """

    def __init__(self, config: TrainingConfig, target_counts: Tensor, student: Any) -> None:
        alpha = min(1.0, config.negatives / max(1, len(target_counts) - 2))
        self.beta = alpha * (config.calibration * (1 - 1 / alpha) + 1 / alpha)

    def __call__(self, batch: Batch, output: Output) -> Tensor:
        shared = _shared(batch)
        positive = F.softplus(-output.scores(batch.target.unsqueeze(1))[:, 0])
        others = (shared != batch.target.unsqueeze(1)).float()
        negative = (F.softplus(output.scores_of_all(shared)) * others).sum(dim=1)
        return (self.beta * positive + negative).mean() / (len(shared) + 1)


class _Cloze:
    """BERT4Rec's (Sun et al., CIKM 2019): hidden items of history and target are predicted.

    f ce + (1 - f) times the mean of -log softmax over the hidden items, where f is the student's
    share of samples that hide the target alone. The paper and RecBole (`ft_ratio`) draw these at
    random; here every example is both, which has the same expectation.
    """

    def __init__(self, config: TrainingConfig, target_counts: Tensor, student: Any) -> None:
        self.student, self.precision = student, config.precision
        self.masks = config.seen == "mask"
        self.buffers = BlockBuffers()

    def __call__(self, batch: Batch, output: Output) -> Tensor:
        with encoding(self.precision, batch.target.device):
            hidden, ids, counts = self.student.cloze(batch.history, batch.length, batch.target)
        sequence = None
        if self.masks:  # all items of the sequence but the one that is hidden there
            sequence = torch.cat([batch.history, batch.target.unsqueeze(1)], dim=1)
            sequence = sequence.repeat_interleave(len(ids) // len(sequence), dim=0)
        hidden_items = StepOutput(
            hidden.float(),
            self.student,
            self.buffers,
            ids,
            factors=factors(self.precision),
            left_out=sequence,
        )
        log_probs = hidden_items.log_probs(ids.unsqueeze(1)).squeeze(1)
        cloze = -(log_probs * counts).sum() / counts.sum()
        share: float = self.student.last_share
        return share * cross_entropy(batch, output) + (1 - share) * cloze


def _shared(batch: Batch) -> Tensor:
    if batch.shared is None:
        raise ValueError("this objective needs shared negatives in the batch")
    return batch.shared


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
        Objective(
            "sampled-ce", _SampledCrossEntropy, shares_negatives=True, is_shift_invariant=True
        ),
        Objective(
            "gbce", _CalibratedBinaryCrossEntropy, samples_negatives=True, shares_negatives=True
        ),
        Objective("cloze", _Cloze, reads_whole_table=True, is_shift_invariant=True),
    )
}
"""By the name that `training.objective` has (`bench.training.config.ObjectiveName`)."""
