"""Recommenders that teachers are made of: trained on training rows alone, with saved states.

Nothing here is given validation or test rows. What chooses a state is held out of the training
rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from bench.baselines.interface import Baseline
from bench.data.examples import Examples
from bench.distillation import Method
from bench.errors import BenchError, Diverged
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.ranking import rank_targets
from bench.plan import seed_of
from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig
from bench.training.loop import Streams, fit
from bench.training.rows import DeviceRows

REACHED = (0.25, 0.5, 0.75, 1.0)
"""Shares of its best value at which a member is looked at: the C states of a trajectory."""

TOLD = ("hr@20", "ndcg@20")
"""Metrics of single members that manifests keep."""


class Member(Protocol):
    """A recommender with one or several saved states."""

    name: str

    @property
    def states(self) -> list[int]:
        """The saved state, from 0, of each of the C states of a trajectory; the last converged."""

    @property
    def story(self) -> dict[str, Any]:
        """How it was made, for the manifest."""

    def load(self, state: int) -> None:
        """Return to a saved state."""

    def scores(self, history: Tensor, length: Tensor, user: Tensor) -> Tensor:
        """Logits float32 [B, N] of histories; column i - 1 is item i."""


class BaselineMember:
    """A fitted baseline: it has one state, which is what it is from the start."""

    def __init__(self, name: str, baseline: Baseline) -> None:
        self.name, self.baseline = name, baseline
        self.states = [0] * len(REACHED)
        self.story: dict[str, Any] = {"model": type(baseline).__name__}

    def load(self, state: int) -> None:
        """There is one state."""

    def scores(self, history: Tensor, length: Tensor, user: Tensor) -> Tensor:
        ids, lengths = (column.int().cpu().numpy() for column in (history, length))
        return torch.from_numpy(self.baseline.scores(ids, lengths)).to(history.device)


class Trained:
    """A RecBole model, trained by the suite's own loop under the method `none`.

    Only epochs that were better than all before are saved: the first epoch that reaches a share of
    the best value is one of them.
    """

    def __init__(self, name: str, student: Adapter, training: TrainingConfig, seed: int) -> None:
        self.name, self.student, self.training, self.seed = name, student, training, seed
        self.states: list[int] = []
        self.story: dict[str, Any] = {}
        self._saved: list[dict[str, Tensor]] = []

    def train(self, rows: Examples, held_out: Examples, n_items: int, device: str) -> None:
        """Fit to `rows`; `held_out` rows choose the states.

        Raises:
            BenchError: the loss became NaN or infinite.
        """
        where = torch.device(device)
        student = self.student.to(where)
        monitored = DeviceRows.of(held_out, where)
        counts = np.bincount(rows.target, minlength=n_items + 1)
        values: list[float] = []
        epochs: list[int] = []

        def evaluate() -> dict[str, float]:
            metrics = metrics_from_ranks(rank_targets(student, monitored))
            value = metrics[self.training.select]
            if not values or value > max(values):
                state = student.state_dict().items()
                self._saved.append({key: tensor.detach().cpu().clone() for key, tensor in state})
                epochs.append(len(values) + 1)
            values.append(value)
            return metrics

        torch.manual_seed(seed_of(self.seed, self.name, "dropout"))
        try:
            fit(
                student,
                Method(Method.Config()),
                DeviceRows.of(rows, where),
                torch.from_numpy(counts).to(where, torch.float32),
                self.training,
                self._streams(where),
                evaluate,
            )
        except Diverged as error:
            raise BenchError(f"recommender '{self.name}': {error}") from error
        student.eval()
        self.states = [epochs.index(epoch) for epoch in first_to_reach(values)]
        self.story = {
            "model": type(student.model).__name__,
            "epochs_run": len(values),
            "epochs_of_states": [epochs[state] for state in self.states],
            f"held_out_{self.training.select}_by_epoch": [round(value, 5) for value in values],
        }

    def load(self, state: int) -> None:
        self.student.load_state_dict(self._saved[state])
        self.student.begin_step()

    def scores(self, history: Tensor, length: Tensor, user: Tensor) -> Tensor:
        hidden = self.student.encode(history, length, user)
        return self.student.queries(hidden) @ self.student.keys()[1:].T

    def _streams(self, device: torch.device) -> Streams:
        def generator(purpose: str, where: torch.device) -> torch.Generator:
            return torch.Generator(where).manual_seed(seed_of(self.seed, self.name, purpose))

        return Streams(
            order=generator("order", torch.device("cpu")),
            negatives=generator("negatives", device),
            method=generator("method", device),
        )


def untrained(
    name: str,
    config: StudentConfig,
    training: TrainingConfig,
    rows: Examples,
    n_items: int,
    n_users: int,
    seed: int,
) -> Trained:
    """A RecBole model with its initial parameters.

    Raises:
        BenchError: RecBole cannot build it with these parameters.
    """
    torch.manual_seed(seed_of(seed, name, "student"))
    known = np.bincount(rows.user, minlength=n_users) > 0
    try:
        student = Adapter.of(
            config,
            n_items=n_items,
            history=rows.history.shape[1],
            known_users=torch.from_numpy(known),
            objective=training.objective,
        )
    except Exception as error:  # RecBole checks values with whatever is at hand
        raise BenchError(
            f"recommender '{name}' cannot be built with {config.parameters}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return Trained(name, student, training, seed)


def first_to_reach(values: Sequence[float]) -> list[int]:
    """The first epoch, from 1, whose value is `REACHED` times the best one or more."""
    best = max(values)
    return [
        1 + next(epoch for epoch, value in enumerate(values) if value >= share * best)
        for share in REACHED
    ]
