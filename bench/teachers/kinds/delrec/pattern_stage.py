"""DELRec's first stage: soft prompts learn how a conventional recommender thinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.errors import BenchError
from bench.plan import seed_of
from bench.teachers.kinds.delrec.questions import Asking, ListedRows, Question
from bench.teachers.kinds.delrec.soft_prompts import PromptedModel
from bench.teachers.kinds.delrec.stages import Work, batch_of, parts
from bench.teachers.kinds.delrec.task_weights import task_weights

Ask = Callable[[ListedRows, int, np.random.Generator], Question]


class PatternStage:
    """Temporal analysis and recommendation pattern simulating, weighed against each other.

    The soft prompts are all that is learned. The language model is frozen and without dropout.

    Args:
        prompted: the model and its soft prompts.
        asking: makes the questions.
        learned: rows to learn from, and their lists.
        held_out: rows to choose by, and theirs.
        alpha: of the weights of the tasks.
        work: how much a step is, and the seed.

    Raises:
        BenchError: no row is long enough for temporal analysis.
    """

    name = "stage 1, patterns"

    def __init__(
        self,
        prompted: PromptedModel,
        asking: Asking,
        learned: ListedRows,
        held_out: ListedRows,
        alpha: float,
        work: Work,
    ) -> None:
        self.prompted, self.learned = prompted, learned
        self.alpha, self.work = alpha, work
        self.parameters: Mapping[str, nn.Parameter] = {"soft": prompted.soft}
        self.asks: dict[str, Ask] = {"temporal": asking.temporal, "pattern": asking.pattern}
        shortest = {"temporal": asking.shortest_temporal, "pattern": 1}
        self.rows = {name: _as_long(learned, shortest[name]) for name in self.asks}
        self.held_out_questions = {
            name: asked(ask, held_out, _as_long(held_out, shortest[name]), work)
            for name, ask in self.asks.items()
        }

    def begin(self, step: int) -> float:
        """Gradients of both tasks, in the proportion of `task_weights`."""
        self.prompted.eval()
        losses, gradients = [], []
        for name, ask in self.asks.items():
            seed = seed_of(self.work.seed, self.name, name)
            random = np.random.default_rng([seed, step])
            chosen = batch_of(step, self.work.batch_size, self.rows[name], seed)
            questions = [ask(self.learned, int(row), random) for row in chosen]
            loss, gradient = self._gradient(questions)
            losses.append(loss)
            gradients.append(gradient)
        weights = task_weights(gradients, self.alpha)
        self.prompted.soft.grad = torch.einsum("j,jkd->kd", weights, torch.stack(gradients))
        return float(torch.stack(losses) @ weights)

    def end(self, step: int) -> None:
        """Nothing is left to do."""

    def held_out_loss(self) -> float:
        """Sum of both tasks' mean losses."""
        return sum(self.held_out_losses().values())

    def held_out_losses(self) -> dict[str, float]:
        """Mean loss of each task."""
        return {
            name: mean_loss(self.prompted, questions, self.work.at_once)
            for name, questions in self.held_out_questions.items()
        }

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """The soft prompts are all there is."""

    def _gradient(self, questions: list[Question]) -> tuple[Tensor, Tensor]:
        """Mean loss of the questions and its gradient with respect to the soft prompts."""
        soft = self.prompted.soft
        total, gradient = torch.zeros((), device=soft.device), torch.zeros_like(soft)
        for part in parts(questions, self.work.at_once):
            loss = self.prompted.loss(part) / len(questions)
            gradient += torch.autograd.grad(loss, soft)[0]
            total += loss.detach()
        return total, gradient


def asked(ask: Ask, known: ListedRows, rows: NDArray[np.int64], work: Work) -> list[Question]:
    """Questions for a look: the same every time."""
    random = np.random.default_rng(work.seed)
    chosen = np.sort(random.permutation(rows)[: work.looked_at])
    return [ask(known, int(row), random) for row in chosen]


@torch.no_grad()
def mean_loss(prompted: PromptedModel, questions: list[Question], at_once: int) -> float:
    """Mean cross-entropy of questions, without dropout."""
    prompted.eval()
    losses = [prompted.loss(part) for part in parts(questions, at_once)]
    return float(torch.stack(losses).sum()) / len(questions)


def _as_long(known: ListedRows, shortest: int) -> NDArray[np.int64]:
    """The rows whose history has so many items or more."""
    chosen = np.flatnonzero(known.rows.length >= shortest)
    if not len(chosen):
        raise BenchError(
            f"temporal analysis needs histories of {shortest} items or more, and none of "
            f"{len(known.rows)} rows has one; lower 'patterns.example_items'"
        )
    return chosen
