"""Hints: regression of the teacher's item embeddings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn

from bench.distillation import Batch, Knowledge, Output, Student
from bench.distillation.entities import ItemVectors, squared_error
from bench.distillation.histories import EntityConfig, EntityMethod, history_vectors
from bench.registry import register_method


@register_method("hint", needs={"embeddings"})
class Hint(EntityMethod):
    r"""Regress the teacher's item embeddings from the student's.

    Adriana Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, the hint loss:

    .. math::
        L_H = \frac{1}{|I_b|} \sum_{i \in I_b} \frac{1}{D} \lVert \varphi(e_i) - z_i \rVert^2

    over the different items :math:`I_b` of the histories and targets of a batch, with the student's
    embedding :math:`e_i` (its scoring table), the teacher's :math:`z_i` in D dimensions and a
    regressor :math:`\varphi` that is trained along and dropped afterwards.

    Takes: `embeddings`, one vector z per item, standardised per dimension. With `users` also
    `histories`, one vector per example, which a second regressor makes of the encoded history.

    Costs: a regressor with one hidden layer of (d + D) / 2 units in training, nothing at
    inference. A step passes at most `max_items` items through it.

    Departs: FitNets compare hidden layers of an image network and train the hint first; here, as
    in ports to recommenders, item embeddings are compared beside the base loss. The ports draw
    items uniformly; here they are those of the batch. `direction: down` compares e with the first
    d principal components of z, a frozen map, since a trained one from teacher to student can make
    everything constant.
    """

    class Config(EntityConfig):
        weight: NonNegativeFloat = Field(0.01, description="lambda, weight of the regression")
        direction: Literal["up", "down"] = Field(
            "up",
            description="student to teacher, or the teacher's principal components as they are",
        )
        projector: Literal["linear", "mlp"] = Field("mlp", description="regressor of `up`")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        config = self.config
        if config.direction == "down":
            config = config.model_copy(update={"pca_dim": student.width})
        self.items = ItemVectors(knowledge.embeddings, config)
        self.regressor = self._regressor(student.width, self.items.width)
        self.histories = history_vectors(knowledge, config)
        if self.histories is not None:
            self.history_regressor = self._regressor(student.width, self.histories.width)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        student, teacher, present = self.items.take(batch, output)
        error = squared_error(self.regressor(student), teacher, present)
        terms = {"hint": self.config.weight * error}
        if self.histories is not None:
            student, teacher, present = self.histories.take(batch, output)
            error = squared_error(self.history_regressor(student), teacher, present)
            terms["history-hint"] = self.config.weight * error
        return terms

    def _regressor(self, student_dim: int, teacher_dim: int) -> nn.Module:
        if self.config.direction == "down":
            # Negative padding crops, where the teacher is narrower than the student.
            return nn.ConstantPad1d((0, teacher_dim - student_dim), 0.0)
        if self.config.projector == "linear":
            return nn.Linear(student_dim, teacher_dim)
        middle = (student_dim + teacher_dim) // 2
        return nn.Sequential(
            nn.Linear(student_dim, middle), nn.ReLU(), nn.Linear(middle, teacher_dim)
        )
