"""The list term of ranking distillation, in the forms that suit the base objectives."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from bench.distillation import Batch, Objective, Output
from bench.distillation.losses import covered_mean

ListForm = Literal["auto", "sigmoid", "softmax"]
PushForm = Literal["auto", "none", "correct", "shifted"]


class ListTerm:
    r""":math:`-\sum_k w_k \log p(\pi_k)` of a row, and a push on the objective's negative.

    By `auto`, p is a softmax over the catalogue where the objective is invariant to a shift of a
    row's logits (ce, bpr, cloze), because a one-sided sigmoid would push them up without bound;
    elsewhere it is a sigmoid, and the negative that the objective samples is pushed down with
    softplus(s).

    Raises:
        ValueError: a push is asked for under an objective that samples no negative.
    """

    def __init__(self, objective: Objective, form: ListForm, push: PushForm) -> None:
        invariant = objective.is_shift_invariant
        automatic_form: ListForm = "softmax" if invariant else "sigmoid"
        automatic_push: PushForm = "none" if invariant else "correct"
        self.form = automatic_form if form == "auto" else form
        self.push = automatic_push if push == "auto" else push
        if self.push != "none" and not objective.samples_negatives:
            raise ValueError(
                f"negative_form={self.push} pushes on the negative that an objective samples, and "
                f"{objective.name} samples none: use training.objective bpr, bce or dros"
            )

    def of(self, batch: Batch, output: Output, items: Tensor, weights: Tensor) -> Tensor:
        """One value [B] per row for `items` [B, K]; an id 0 must have weight 0."""
        if self.form == "softmax":
            row_loss = -(weights * output.log_probs(items)).sum(dim=1)
        else:
            row_loss = (weights * F.softplus(-output.scores(items))).sum(dim=1)
        if batch.negative is None or self.push == "none":
            return row_loss
        negative = output.scores(batch.negative.unsqueeze(1))[:, 0]
        return row_loss + F.softplus(negative - (1.0 if self.push == "shifted" else 0.0))


def robust_list_loss(
    values: Tensor, weights: Tensor, covered: Tensor, *, broadcast: bool
) -> Tensor:
    """Weighted robust terms of the listed items, `values` and `weights` [B, K], as one scalar.

    With `broadcast` the weights of rows are lost, as in the released program of DLLM2Rec, which
    multiplies [B, 1] by [B]; rows that are not covered, which it does not know, count there too.
    """
    if broadcast:
        return (weights.mean(dim=0) * values.mean(dim=0)).sum()
    return covered_mean((weights * values).sum(dim=1), covered)
