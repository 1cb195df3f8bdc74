"""DELRec with the roles reversed: a teacher of lists fills soft prompts of the student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from bench.distillation import Batch, Knowledge, Method, Output, PromptedStudent, Stage, Student
from bench.distillation.lists import coverage
from bench.registry import register_method

from .held_out import HeldOut
from .prompt_tasks import TaskConfig, Tasks


@register_method("delrec-reverse", needs={"rankings", "embeddings"})
class DelrecReverse(Method):
    r"""Fill soft prompts of a trained student with a teacher's behaviour, then train it on.

    A design of this suite after Haoyi Zhang et al., "DELRec: Distilling Sequential Pattern to
    Enhance LLMs-based Sequential Recommendation", arXiv 2406.11156, 2024, whose two stages carry
    the knowledge of a conventional recommender into prompts of a language model.

    .. math::
        L_1 = \omega_1 L_{TA} + \omega_2 L_{RPS}, \qquad L_2 = L_{base} + \lambda_2 L_{RPS}

        L_{RPS} = \sum_{k=1}^{h} w_k \Big[ \log \sum_{j \in C \setminus \{\pi_1..\pi_{k-1}\}}
        e^{s_j} - s_{\pi_k} \Big], \qquad
        L_{TA} = (1 - \mu)\, CE(i_t) + \mu\, KL(q \,\|\, p)

    After a training without prompts, exactly `none`, :math:`L_1` trains k prompts and a mask
    vector alone, chosen by their loss on 2 % of the rows. Then :math:`L_2` trains the student, its
    prompts frozen. :math:`L_{RPS}`: the teacher's list :math:`\pi` among m candidates C,
    :math:`w_k \propto e^{-k}`. :math:`L_{TA}`: the hidden last item :math:`i_t` of a prefix, given
    the items before it and the next one, y; p is the student's softmax over candidates and
    :math:`q_j \propto e^{-\rho_j / \lambda_e} e^{\cos(z_j, z_y) / T_z}` what the teacher, which
    ranked j at :math:`\rho_j` for the prefix without :math:`i_t`, would say knowing y.

    Takes: `rankings`, h items of a row's list and of the row's before; `embeddings`, cosines.

    Costs: (k + 1) d parameters in training, k d at inference, where k vectors more are read (Caser
    is made k rows longer). Two trainings with early stopping and up to 20 passes that encode each
    row twice: compare with a `none` of as many epochs.

    Departs: the released program weights the two tasks by their gradients; here the weights are
    settings. It asks the language model for the hidden item; here its answer is estimated from
    lists and embeddings (`analysis.soft_share: 0` does without), and nothing is asked of a row
    without a list. Prompts start at random and have no places. Stage 1 is judged by both tasks, as
    it is trained by both. Caser reads the temporal analysis without its user.
    """

    class Config(TaskConfig):
        prompts: NonNegativeInt = Field(8, description="k, vectors before a history; 0 is `none`")
        weight: NonNegativeFloat = Field(0.0, description="lambda_2, simulation in the last stage")
        fill: Literal["prompts", "all"] = Field(
            "prompts", description="what the tasks train: prompts and mask, or the student as well"
        )
        fill_learning_rate: PositiveFloat = Field(5e-3, description="step size for prompts alone")
        fill_epochs: PositiveInt = Field(20, description="passes of the tasks, at most")
        frozen: bool = Field(True, description="whether the last stage leaves the prompts alone")
        start: Literal["warm", "cold"] = Field(
            "warm", description="last stage: from the trained student, or from its first state"
        )

    config: Config

    @classmethod
    def prompt_length(cls, config: Config) -> int:
        return config.prompts

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        self.parts, self.part = ["base"], "base"
        if not self.config.prompts:
            return
        assert knowledge.rows is not None  # noqa: S101 - there in every trial
        # Scaled like the item embeddings as soon as these are trained.
        self.prompts = nn.Parameter(torch.randn(self.config.prompts, student.width))
        self.mask = nn.Parameter(torch.randn(student.width))
        self.tasks = Tasks(self.config, cast(PromptedStudent, student), knowledge)
        self.held_out = HeldOut(knowledge.rows, coverage(knowledge))
        cold = self.config.start == "cold"
        self.first = [p.detach().clone() for p in student.parameters()] if cold else []
        self.parts += ["fill", "recommend"] if self.tasks.weighted else ["recommend"]

    def stages(self) -> Sequence[Stage]:
        if not self.config.prompts:
            return (Stage(),)
        student, alone = list(self.tasks.student.parameters()), self.config.fill == "prompts"
        fill = Stage(
            trained=[self.prompts, self.mask] if alone else None,
            base=False,
            rows=self.held_out.others,
            monitor=lambda: -sum(self._held_out_terms().values()),
            max_epochs=self.config.fill_epochs,
            min_epochs=1,
            learning_rate=self.config.fill_learning_rate if alone else None,
            weight_decay=0.0 if alone else None,
        )
        recommend = Stage(trained=student if self.config.frozen else [*student, self.prompts])
        stages = {"base": Stage(), "fill": fill, "recommend": recommend}
        return [stages[part] for part in self.parts]

    @torch.no_grad()
    def on_stage_start(self, stage: int) -> None:
        self.part = self.parts[stage]
        if stage == 1:
            scale = self.tasks.student.item_offset[1:].std()
            self.prompts.mul_(scale)
            self.mask.mul_(scale)
            self.tasks.student.prompt(lambda: self.prompts)
        if self.part == "recommend":
            for own, first in zip(self.tasks.student.parameters(), self.first, strict=False):
                own.copy_(first)

    def on_epoch_start(self, epoch: int, max_epochs: int) -> dict[str, float]:
        """What the tasks cost on rows kept aside before the pass: at first, with random prompts."""
        if self.part != "fill":
            return {}
        numbers = self._held_out_terms()
        self.tasks.student.train()
        return {f"held_out_{name}": value for name, value in numbers.items()}

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        if self.part == "fill":
            return self.tasks.terms(batch, output.hidden, output.table, self.mask)
        if self.part == "base" or not self.config.weight:
            return {}
        simulation = self.tasks.simulation.loss(batch, output.hidden, output.table)
        return {"simulation": self.config.weight * simulation}

    def _held_out_terms(self) -> dict[str, float]:
        return self.tasks.measure(self.held_out.batches(), self.mask)
