"""DELRec's second stage: behind frozen soft prompts the language model learns to recommend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from bench.plan import seed_of
from bench.teachers.kinds.delrec.adalora import AdaLoRA
from bench.teachers.kinds.delrec.pattern_stage import asked, mean_loss
from bench.teachers.kinds.delrec.questions import Asking, ListedRows
from bench.teachers.kinds.delrec.soft_prompts import PromptedModel
from bench.teachers.kinds.delrec.stages import Work, batch_of, parts


class RankingStage:
    """The next item among random ones; AdaLoRA's parameters are all that is learned.

    Args:
        prompted: the model and its soft prompts, which are frozen.
        adalora: beside the maps of that model.
        asking: makes the questions.
        learned: rows to learn from.
        held_out: rows to choose by.
        orthogonality: weight of AdaLoRA's regularisation.
        work: how much a step is, and the seed.
    """

    name = "stage 2, ranking"

    def __init__(
        self,
        prompted: PromptedModel,
        adalora: AdaLoRA,
        asking: Asking,
        learned: ListedRows,
        held_out: ListedRows,
        orthogonality: float,
        work: Work,
    ) -> None:
        prompted.soft.requires_grad_(False)
        self.prompted, self.adalora, self.asking, self.learned = prompted, adalora, asking, learned
        self.orthogonality, self.work = orthogonality, work
        self.seed = seed_of(work.seed, self.name, "questions")
        self.parameters: Mapping[str, nn.Parameter] = adalora.parameters
        self.rows = np.arange(len(learned.rows))
        every = np.arange(len(held_out.rows))
        self.held_out_questions = asked(asking.next_item, held_out, every, work)

    def begin(self, step: int) -> float:
        """Gradients of the mean cross-entropy and of the regularisation; the cross-entropy."""
        self.prompted.train()
        random = np.random.default_rng([self.seed, step])
        chosen = batch_of(step, self.work.batch_size, self.rows, self.seed)
        questions = [self.asking.next_item(self.learned, int(row), random) for row in chosen]
        total = 0.0
        for part in parts(questions, self.work.at_once):
            loss = self.prompted.loss(part) / len(questions)
            loss.backward()
            total += float(loss.detach())
        (self.orthogonality * self.adalora.orthogonality()).backward()
        return total

    def end(self, step: int) -> None:
        """Prune ranks."""
        self.adalora.allocate(step + 1)

    def held_out_loss(self) -> float:
        return mean_loss(self.prompted, self.held_out_questions, self.work.at_once)

    def state(self) -> dict[str, Any]:
        return self.adalora.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.adalora.restore(state)
