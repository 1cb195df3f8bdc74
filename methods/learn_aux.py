"""Alignment with content embeddings beside the base loss, after LEARN."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Student
from bench.distillation.entities import directions, teacher_table
from bench.distillation.in_batch import in_batch_loss
from bench.distillation.projectors import projector
from bench.registry import register_method


@register_method("learn-aux", needs={"embeddings"})
class LearnAux(Method):
    r"""Let encoded histories point at the content embedding of their target.

    After Jian Jia et al., "LEARN: Knowledge Adaptation from Large Language Model to Recommendation
    for Practical Industrial Application", AAAI 2025, whose contrastive loss (in-batch form of the
    released pre-training) becomes a second term beside the base loss:

    .. math::
        L = -\frac{1}{B} \sum_r \log
        \frac{\exp s_{r, y_r}}{\sum_{j \in C_r} \exp s_{r, j}}, \quad
        s_{r, j} = \kappa \cos(W h_r, g(z_j))

    with the encoded history :math:`h_r`, its target :math:`y_r`, the teacher's embeddings z, a
    matrix W and a projector g that are trained along. The candidates :math:`C_r` are the target and
    the batch's other targets, each item once, without those in the row's history.

    Takes: `embeddings`, one vector z per item, standardised per dimension.

    Costs: d^2 + 4 d (D + d) parameters in training, none at inference. A step projects B vectors
    and compares B^2 pairs.

    Departs: LEARN has no item ids and scores by the content alone; here the student keeps its ids
    and its dot products, and only what its histories learn is changed. A row asks once, with its
    whole history, as in the released program (the paper: several positions of a user). Items of
    the row's history are no negatives; the program leaves out only repetitions of the target.
    z is standardised (LEARN: length 1, `normalise: l2`).
    """

    class Config(MethodConfig):
        weight: NonNegativeFloat = Field(0.1, description="lambda_a, weight of the term")
        scale: PositiveFloat = Field(20.0, description="kappa, factor of the cosines")
        projector: Literal["linear", "mlp"] = Field("mlp", description="g; mlp: 4 d hidden units")
        normalise: Literal["standardise", "l2", "none"] = Field(
            "standardise",
            description="the teacher's vectors: per dimension, per item, or untouched",
        )

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        self.teacher = teacher_table(knowledge.embeddings, self.config.normalise, None)
        self.user = nn.Linear(student.width, student.width, bias=False)
        size, width = self.teacher.shape[1], student.width
        self.item = projector(self.config.projector, size, width, 4 * width)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        users = directions(self.user(output.hidden))
        items = directions(self.item(self.teacher[batch.target]))
        loss = in_batch_loss(self.config.scale * users, items, batch)
        return {"alignment": self.config.weight * loss}
