"""Robust terms of a step: those of a list and of the row's own target from one sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bench.distillation.lists import contains
from bench.training.log_mass import Energy, Robust


class Scorer(Protocol):
    """The scores of a step (`bench.training.output.StepOutput`)."""

    def scores(self, ids: Tensor) -> Tensor:
        """Differentiable logits [B, K] of `ids` [B, K]."""

    def log_mass(self, left_out: Tensor | None, energy: Energy) -> Tensor:
        """The mass log sum_i exp(f(s_i)) [B] of the items that are not among `left_out` [B, K]."""


@dataclass(frozen=True)
class _Listed:
    """Energies of some items of each row, and the mass of all others.

    Attributes:
        ids: int64 [B, K], the row's own target last where it is known.
        scores: logits [B, K].
        energies: [B, K], -inf where an item was listed before, or is left out.
        outside: [B], log of the mass of the items that are not listed.
        exponents: float32 [N + 1], with `temperature` what energies were made with.
    """

    ids: Tensor
    scores: Tensor
    energies: Tensor
    outside: Tensor
    exponents: Tensor
    temperature: float

    def made_with(self, exponents: Tensor, temperature: float) -> bool:
        # Comparing would make the host wait for a GPU, which sweeps twice in less time.
        comparable = exponents.device.type == "cpu"
        same = self.exponents is exponents or (comparable and self.exponents.equal(exponents))
        return same and self.temperature == temperature


class RobustTerms:
    """`bench.distillation.Output.robust` for one step.

    A list takes the row's own target along, so that an objective which asks for that afterwards
    needs no sweep of its own. Nothing is subtracted from a sum of exponentials: that would cancel
    where one item dominates.
    """

    def __init__(self, own: Tensor | None, left_out: Tensor | None = None) -> None:
        """Take what is known of the rows.

        Args:
            own: int64 [B], the targets of the rows; None if no objective will ask.
            left_out: int64 [B, L], items that are in no term but their own; None is none.
        """
        self._own = None if own is None else own.unsqueeze(1)
        self._left_out = left_out
        self._listed: _Listed | None = None

    def of(self, step: Scorer, targets: Tensor, exponents: Tensor, temperature: float) -> Tensor:
        """See `bench.distillation.Output.robust`.

        The step is not kept: it holds on to this, and a circle would keep the memory of a step
        until garbage is collected.
        """
        listed = self._listed
        if listed and self._is_own(targets) and listed.made_with(exponents, temperature):
            scores = listed.scores[:, -1:]
        else:
            listed = self._listed = self._list(step, targets, exponents, temperature)
            scores = listed.scores[:, : targets.shape[1]]
        wished = exponents[targets] / temperature * (scores - 1) ** 2
        same = listed.ids.unsqueeze(1) == targets.unsqueeze(2)
        others = listed.energies.unsqueeze(1).masked_fill(same, -torch.inf)
        outside = listed.outside.view(-1, 1, 1).expand(-1, targets.shape[1], 1)
        return torch.cat([others, wished.unsqueeze(2), outside], dim=2).logsumexp(dim=2)

    def _is_own(self, targets: Tensor) -> bool:
        own = self._own
        return own is not None and (own.shape, own.data_ptr()) == (
            targets.shape,
            targets.data_ptr(),
        )

    def _list(
        self, step: Scorer, targets: Tensor, exponents: Tensor, temperature: float
    ) -> _Listed:
        ids, coefficients = targets, exponents / temperature
        if self._own is not None and not self._is_own(targets):
            ids = torch.cat([targets, self._own], dim=1)
        scores = step.scores(ids)
        energies = coefficients[ids] * scores**2
        apart = (ids.unsqueeze(2) == ids.unsqueeze(1)).tril(-1).any(dim=2)
        if self._left_out is not None:
            apart |= contains(self._left_out, ids)
        return _Listed(
            ids=ids,
            scores=scores,
            energies=energies.masked_fill(apart, -torch.inf),
            outside=step.log_mass(ids, Robust(coefficients)),
            exponents=exponents,
            temperature=temperature,
        )
