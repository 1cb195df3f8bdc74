"""LEARN: content embeddings that the student's own encoder aligns with preferences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Stage, Student
from bench.distillation.entities import teacher_table
from bench.distillation.in_batch import in_batch_loss
from bench.distillation.projectors import projector
from bench.registry import register_method

from .all_action import Later, all_action_loss


@register_method("learn", needs={"embeddings"})
class Learn(Method):
    r"""Describe items by projected teacher embeddings alone and train the encoder on them.

    Jian Jia et al., "LEARN: Knowledge Adaptation from Large Language Model to Recommendation for
    Practical Industrial Application", AAAI 2025 (preference alignment).

    .. math::
        s_{r,i} = \kappa \cos(u_r, v_i), \quad u_r = f_\theta(g(z_{x_1}), \dots, g(z_{x_t}))

    with the student's encoder :math:`f_\theta`, a trained projector g of the frozen embeddings
    :math:`z_i`, and an item tower: :math:`v_i = f_\theta(g(z_i))`, the same encoder on a history of
    one item (`shared`, the best of the paper), an MLP of :math:`z_i` with weights of its own
    (`mlp`), or :math:`g(z_i)` itself (`raw`). The loss is the trial's objective on these scores
    (the released fine-tuning is `ce`); or with `loss: in-batch` InfoNCE against the targets of the
    batch's other rows (the released pre-training); or with `loss: dense` the printed all-action
    loss: `ahead` targets drawn of the row's user, from the row's own on, against those drawn of
    the batch's other users.

    Takes: `embeddings`; no lists.

    Costs: 4 d (D + d) parameters of g in training instead of N d of the item ids. A step projects
    the catalogue and, with the shared tower, encodes N histories of one item (Caser: of full
    length). At inference a scoring table of N d numbers beside the look-up table, no time.

    Departs: one domain and one training instead of a pre-training corpus; rows stand for positions
    drawn of a user, and later items are drawn with replacement; the encoder keeps its position
    embeddings; z is standardised (LEARN: length 1, `normalise: l2`) and kappa fixed. Item ids have
    no embedding, as in the paper; `ids: gate` learns how far they share in the table.
    """

    class Config(MethodConfig):
        item_tower: Literal["shared", "mlp", "raw"] = Field(
            "shared", description="what makes v of z: the encoder, an MLP of its own, g alone"
        )
        projector: Literal["linear", "mlp"] = Field("mlp", description="g, an MLP over 4 d")
        normalise: Literal["standardise", "l2", "none"] = Field("standardise", description="of z")
        loss: Literal["full", "in-batch", "dense"] = Field(
            "full", description="the trial's objective, InfoNCE in the batch, or all-action"
        )
        ahead: PositiveInt = Field(10, description="targets drawn per row under `loss: dense`")
        scale: PositiveFloat = Field(20.0, description="kappa, inverse temperature of the cosine")
        ids: Literal["none", "gate"] = Field("none", description="whether item ids share in g(z)")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        config, device = self.config, knowledge.embeddings.device
        self.content = teacher_table(knowledge.embeddings, config.normalise, None)
        size, width = self.content.shape[1], student.width
        self.projector = projector(config.projector, size, width, 4 * width)
        if config.item_tower == "mlp":
            self.tower = projector("mlp", size, width, 4 * width)
        encode, offset = student.encode, student.item_offset
        # A history cannot be padding alone; the table's padding row is zero whatever it says.
        items = torch.arange(student.n_items + 1, device=device).clamp(min=1)

        def content() -> Tensor:
            vectors: Tensor = self.projector(self.content)
            return vectors

        def gated() -> Tensor:
            return torch.lerp(content(), offset, torch.sigmoid(self.gate))

        def shared() -> Tensor:
            return encode(items.unsqueeze(1), torch.ones_like(items), None)

        def own() -> Tensor:
            vectors: Tensor = self.tower(self.content)
            return vectors

        scoring = {"shared": shared, "mlp": own, "raw": None}[config.item_tower]
        student.replace_items(content if config.ids == "none" else gated, scoring)
        if config.ids == "gate":
            self.gate = nn.Parameter(torch.zeros((), device=device))
            offset.requires_grad_(True)
        student.score_by_cosine(config.scale)
        if config.loss == "dense":
            assert knowledge.rows is not None  # noqa: S101 - there in every trial
            self.later = Later(knowledge.rows)

    def stages(self) -> Sequence[Stage]:
        return (Stage(base=self.config.loss == "full"),)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        if self.config.loss == "full":
            return {}
        if self.config.loss == "dense":
            keys = F.embedding(self.later.draw(batch, self.config.ahead), output.table)
            return {"all_action": all_action_loss(output.hidden, keys, batch.user)}
        keys = F.embedding(batch.target, output.table)
        return {"in_batch": in_batch_loss(output.hidden, keys, batch)}
