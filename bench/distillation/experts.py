"""Experts that rebuild a teacher's vectors from a student's, as DE and HTD share them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.distillation import Batch, Knowledge, Output, Student
from bench.distillation.entities import ItemVectors
from bench.distillation.histories import EntityMethod, HistoryVectors

LARGEST = 50_000_000
"""Weights of all experts beyond which they are refused: 200 MB, and four times that to train."""


class Experts(nn.Module):
    r"""M two-layer networks and a selector that shares every item out among them.

    :math:`\hat t = \sum_m z_m E_m(s)`, where z is a Gumbel-softmax over the selector's scores of
    the teacher's vector t.
    """

    def __init__(self, count: int, student_dim: int, teacher_dim: int) -> None:
        """Networks d - (d + D) / 2 - D with ReLU, initialised like `nn.Linear`.

        Raises:
            ValueError: they would have more than `LARGEST` weights.
        """
        super().__init__()
        middle = (student_dim + teacher_dim) // 2
        weights = count * middle * (student_dim + teacher_dim)
        if weights > LARGEST:
            raise ValueError(
                f"{count} experts for teacher vectors of {teacher_dim} dimensions have "
                f"{weights / 1e6:.0f} million weights, more than {LARGEST / 1e6:.0f} million: "
                "set pca_dim (256 or less) or use fewer experts"
            )
        self.count = count
        self.selector = nn.Linear(teacher_dim, count)
        self.first = nn.Linear(student_dim, count * middle)
        bound = middle**-0.5
        self.second = nn.Parameter(torch.empty(count * middle, teacher_dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(count, teacher_dim).uniform_(-bound, bound))

    def forward(
        self, student: Tensor, teacher: Tensor, temperature: float, generator: torch.Generator
    ) -> Tensor:
        """The teacher's vectors [E, D] as rebuilt from the student's [E, d]."""
        shares = self.shares(teacher, temperature, generator)
        hidden = self.first(student).relu().unflatten(1, (self.count, -1))
        # Shared out before the second layer: one product then sums over the experts, and their
        # outputs [E, M, D] never stand side by side.
        shared = (hidden * shares.unsqueeze(2)).flatten(1)
        return torch.addmm(shares @ self.bias, shared, self.second)

    def shares(self, teacher: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
        """Random shares z [E, M]: rows sum to 1, nearly one-hot at a low temperature."""
        scores = F.log_softmax(self.selector(teacher), dim=1)
        uniform = torch.rand(scores.shape, generator=generator, device=scores.device)
        gumbel = -(-uniform.clamp(min=1e-20).log()).log()
        return F.softmax((scores + gumbel) / temperature, dim=1)

    @torch.no_grad()
    def groups(self, teacher: Tensor, present: Tensor) -> Tensor:
        """float32 [E, M], 1 at the likeliest expert of each item that is `present` [E]."""
        best = self.selector(teacher).argmax(dim=1, keepdim=True)
        experts = torch.arange(self.count, device=teacher.device)
        return ((best == experts) & present.unsqueeze(1)).to(teacher.dtype)


def annealed(epoch: int, max_epochs: int) -> float:
    """Temperature of a pass, `epoch` from 1: from 1 exponentially towards 1e-10, 1e-3 at least."""
    return float(max(1e-10 ** ((epoch - 1) / max_epochs), 1e-3))


class ExpertMethod(EntityMethod):
    """Base of the methods whose experts rebuild the teacher's vectors of a batch's entities."""

    items: ItemVectors
    histories: HistoryVectors | None

    def attach_experts(self, count: int, student: Student, knowledge: Knowledge) -> None:
        """Make `count` experts for the teacher's items, and as many for its histories.

        `config` is an `EntityConfig`; `items` and `histories` are there already.
        """
        self.experts = Experts(count, student.width, self.items.width)
        if self.histories is not None:
            self.history_experts = Experts(count, student.width, self.histories.width)
        self.temperature = 1.0

    def on_epoch_start(self, epoch: int, max_epochs: int) -> dict[str, float]:
        self.temperature = annealed(epoch, max_epochs)
        return {"temperature": self.temperature}

    def rebuilt(self, batch: Batch, output: Output) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `ItemVectors.take` returns, and the teacher's vectors [E, D] as rebuilt."""
        student, teacher, present = self.items.take(batch, output)
        again = self.experts(student, teacher, self.temperature, batch.generator)
        return student, teacher, present, again

    def rebuilt_histories(
        self, batch: Batch, output: Output
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `HistoryVectors.take` returns, and the teacher's vectors [B, D] as rebuilt."""
        assert self.histories is not None  # noqa: S101 - only called with them
        student, teacher, present = self.histories.take(batch, output)
        again = self.history_experts(student, teacher, self.temperature, batch.generator)
        return student, teacher, present, again
