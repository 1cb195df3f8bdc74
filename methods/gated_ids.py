"""Items known by their texts, and by ids as far as training showed them: cold items are found."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Stage, Student
from bench.distillation.list_weights import position_weights
from bench.distillation.lists import coverage
from bench.distillation.losses import covered_mean
from bench.distillation.projectors import normalised, projector
from bench.registry import register_method


@register_method("gated-ids", needs={"embeddings", "rankings"}, objectives={"ce"})
class GatedIds(Method):
    r"""Add ids to projected text by how often training asked for them, and push no cold item down.

    The suite's own. Dropping ids in training follows "DropoutNet", Volkovs et al., NeurIPS 2017.

    .. math::
        e_i = P(z_i) + g_i\, m_i\, b_i, \quad g_i = \frac{c_i}{c_i + \gamma}, \qquad
        L = -s_y + \log \sum_{i:\, c_i > 0} e^{s_i}
        - \lambda \sum_{k=1}^{K} w_k \Big( s_{\pi_k} - \log \sum_{i:\, c_i > 0} e^{s_i} \Big)

    for the teacher's vectors z, centred and of one scale; a network P of two layers; the student's
    own ids b; :math:`c_i`, how often item i is a training target; and m, which drops a share of
    the ids anew in every step, in training alone, so that texts must serve. The softmax is over
    the items that are a training target at least once: in the usual one every other item is a
    wrong answer in every step, which is how students learn never to recommend what is new. The
    list :math:`\pi` of the teacher holds such items too, and w falls with the position, as in
    DLLM2Rec.

    Takes: `embeddings` and the first K of `rankings`, best of a teacher that has learned nothing
    of which items are asked for, such as `text-neighbours`.

    Costs: D * hidden + hidden * d parameters in training. Each step passes the catalogue through P.
    Nothing at inference: the table is folded into the student's.

    Departs: it has its own softmax, and so goes with the objective `ce` alone; `training.seen`
    leaves nothing out of it.
    """

    class Config(MethodConfig):
        gate: NonNegativeFloat = Field(
            5.0, description="gamma, training targets at which an id counts for half; 0: no gate"
        )
        id_dropout: float = Field(0.3, ge=0, lt=1, description="share of ids dropped in a step")
        text_dropout: float = Field(0.3, ge=0, lt=1, description="of what P reads")
        hidden: PositiveInt = Field(128, description="units between the layers of P")
        list_weight: NonNegativeFloat = Field(0.1, description="lambda")
        top_k: PositiveInt = Field(10, description="K, teacher items used per row")
        temperature: PositiveFloat = Field(1.0, description="of the position weights w")

    config: Config

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        assert knowledge.embeddings is not None  # noqa: S101 - guaranteed by `needs`
        assert knowledge.rankings is not None  # noqa: S101 - guaranteed by `needs`
        config, counts = self.config, knowledge.target_counts
        self.texts = _centred(knowledge.embeddings)
        self.gate = (counts / (counts + config.gate).clamp(min=1.0)).unsqueeze(1)
        self.asked_for = counts.nonzero()[:, 0]
        self.lists, self.covered = knowledge.rankings[:, : config.top_k], coverage(knowledge)
        count = self.lists.shape[1]
        self.position = position_weights(count, config.temperature, counts.device)
        self.network = projector("mlp", self.texts.shape[1], student.width, config.hidden)
        self.of_texts, self.of_ids = nn.Dropout(config.text_dropout), nn.Dropout(config.id_dropout)
        own = student.item_offset
        student.replace_items(lambda: self.items(own))
        own.requires_grad_(True)
        self.derived = {"top_k": count, "asked_for": len(self.asked_for)}

    def items(self, ids: Tensor) -> Tensor:
        """The item table, float32 [N + 1, d], of the student's own ids [N + 1, d]."""
        # One draw an id; kept ids are not enlarged, since the network stands in for the others.
        kept = self.of_ids(torch.ones_like(self.gate)).ne(0)
        return self.network(self.of_texts(self.texts)) + self.gate * kept * ids

    def stages(self) -> tuple[Stage, ...]:
        """One, whose loss is the method's own."""
        return (Stage(base=False),)

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        config, items = self.config, self.lists[batch.row_id]
        mass = output.scores_of_all(self.asked_for).logsumexp(dim=1)
        chosen = output.scores(torch.cat([batch.target.unsqueeze(1), items], dim=1))
        surprise = mass.unsqueeze(1) - chosen
        terms = {"asked_for": surprise[:, 0].mean()}
        if config.list_weight:
            row_loss = surprise[:, 1:] @ self.position
            terms["list"] = config.list_weight * covered_mean(row_loss, self.covered[batch.row_id])
        return terms


def _centred(embeddings: Tensor) -> Tensor:
    """Teacher vectors [N + 1, D] of unit length, centred, with a mean square of 1 an item."""
    vectors = normalised(embeddings[1:].float(), "l2")
    vectors = vectors - vectors.mean(dim=0)
    scale = vectors.square().sum(dim=1).mean().sqrt().clamp(min=1e-9)
    return F.pad(vectors / scale, (0, 0, 1, 0))
