"""One stage of one method's training, measured through the training loop's own steps."""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import Any

import torch
from torch import nn

from bench.distillation import Method
from bench.registry import METHODS
from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig
from bench.training.loop import Streams, _Step
from benchmarks.turns import seconds
from benchmarks.world import World

HOOKS = 6
"""Passes over which the work between epochs is averaged."""


class Case:
    """One stage of one method, ready to take the loop's own steps."""

    def __init__(
        self,
        student: StudentConfig,
        method: str,
        settings: dict[str, Any],
        stage: int,
        world: World,
        config: TrainingConfig,
        device: torch.device = torch.device("cpu"),  # noqa: B008 - immutable
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.name = method
        self.device = device
        method_class = METHODS.load(method)
        settings_of = method_class.Config.model_validate(settings)
        self.student = Adapter.of(
            student,
            n_items=len(world.knowledge.target_counts) - 1,
            history=world.rows.history.shape[1],
            known_users=torch.ones(int(world.rows.user.max()) + 1, dtype=torch.bool),
            objective=config.objective,
            prompt_length=method_class.prompt_length(settings_of),
        ).to(device)
        self.method: Method = method_class(settings_of)
        self.method.attach(self.student, world.knowledge)
        self.method.to(device)
        self.step = _Step(
            self.student,
            self.method,
            world.rows,
            world.knowledge.target_counts,
            config,
            Streams(
                order=torch.Generator().manual_seed(seed),
                negatives=torch.Generator(device).manual_seed(seed + 1),
                method=torch.Generator(device).manual_seed(seed + 2),
            ),
        )
        stages = self.method.stages()
        self.stages = len(stages)
        for index in range(stage + 1):
            self.method.on_stage_start(index)
        self._training = contextlib.ExitStack()
        self._training.enter_context(self.step.trains(stages[stage]))
        nn.ModuleList([self.student, self.method]).train()
        self.between = self._between_epochs()
        self._batches = itertools.chain.from_iterable(iter(self.step.batches, None))
        self._full = len(next(self._batches))
        self._take = self.step.of_an_epoch()

    def run(self) -> float:
        """Take a step on a batch that is not the rest of a pass; seconds."""
        batch = next(batch for batch in self._batches if len(batch) > 0.9 * self._full)
        return seconds(lambda: self._take(batch), self.device)

    def epoch(self) -> float:
        """Take one pass over all rows; seconds."""
        self.student.train()
        return seconds(lambda: [self._take(each) for each in self.step.batches()], self.device)

    def steps(self) -> int:
        """Steps of a pass over all rows."""
        return sum(1 for _ in self.step.batches())

    def parameters(self) -> dict[str, int]:
        """How many are trained, and how many the student has when training is over."""
        self._training.close()
        training = _count(self.student) + _count(self.method)
        nn.ModuleList([self.student, self.method]).eval()
        self.student.fold()
        return {"training": training, "inference": _count(self.student)}

    def _between_epochs(self) -> float:
        """CPU seconds that the method works before an epoch, on average over the first ones."""
        started = time.process_time()
        for epoch in range(1, HOOKS + 1):
            self.method.on_epoch_start(epoch, 100)
        return (time.process_time() - started) / HOOKS


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
