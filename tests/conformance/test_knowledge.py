"""What every method makes of knowledge that is padded, reordered, short or partial."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from bench import layers
from bench.data.examples import Examples, PreparedData
from bench.distillation import Batch, Knowledge
from bench.registry import METHODS
from bench.training.config import TrainingConfig
from bench.training.objectives import OBJECTIVES
from bench.training.output import BlockBuffers, StepOutput
from bench.training.rows import DeviceRows

from .conftest import LISTED, N_ITEMS, STUDENTS, build, make_trial, run

CPU = torch.device("cpu")
ALL = [entry.name for entry in METHODS]
TAUGHT = [entry.name for entry in METHODS if entry.needs]
OF_ROWS = {"rankings", "trajectories", "histories"}
ROWWISE = [entry.name for entry in METHODS if entry.needs & OF_ROWS]
"""Methods that address what they know by training row."""
STEP_ROWS = 24


class World:
    """A method on a student, with the objective, ready to say what a step loses."""

    def __init__(self, method: str, objective: str, knowledge: Knowledge, rows: Examples) -> None:
        self.rows, self.objective = DeviceRows.of(rows, CPU), objective
        counts = torch.bincount(self.rows.target, minlength=N_ITEMS + 1).float()
        knowledge = dataclasses.replace(knowledge, target_counts=counts)
        trial = make_trial(method, training={"objective": objective})
        self.method, self.student = build(trial, knowledge, self.rows)
        self.student.eval()
        self.method.eval()

    def losses(self, row_id: torch.Tensor, table: torch.Tensor) -> list[torch.Tensor]:
        """Every term of a step on some rows in every stage, of a student that scores by `table`."""
        terms = []
        for stage in range(len(self.method.stages())):
            self.method.on_stage_start(stage)
            self.method.on_epoch_start(1, 5)
            terms += self._of_the_stage(row_id, table)
        return terms

    def _of_the_stage(self, row_id: torch.Tensor, table: torch.Tensor) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        batch = Batch.of(self.rows, row_id, generator)
        if OBJECTIVES[self.objective].samples_negatives:
            batch = dataclasses.replace(batch, negative=batch.target % N_ITEMS + 1)
        noise = torch.Generator().manual_seed(2)
        hidden = torch.randn(len(row_id), self.student.width, generator=noise)
        self.student.begin_step()
        output = StepOutput(hidden, table, BlockBuffers(), batch.target)
        config = TrainingConfig(objective=self.objective)
        base = OBJECTIVES[self.objective].make(config, torch.ones(N_ITEMS + 1), self.student)
        return [base(batch, output), *self.method.loss(batch, output).values()]


def score_table(width: int = 16) -> torch.Tensor:
    table = torch.randn(N_ITEMS + 1, width, generator=torch.Generator().manual_seed(3))
    table[0] = 0
    return table


@pytest.mark.parametrize("objective", ["ce", "bce", "dros"])
@pytest.mark.parametrize("method", ALL)
def test_padding_is_in_no_list_candidate_set_or_denominator(
    method: str, objective: str, data: PreparedData, knowledge: Knowledge
) -> None:
    partial = dataclasses.replace(knowledge, covered=torch.arange(len(data.train)) % 3 > 0)
    plain, poisoned = score_table(), score_table()
    poisoned[0] = 30.0
    found = []
    for table in (plain, poisoned):
        table.requires_grad_()
        world = World(method, objective, partial, data.train)
        terms = world.losses(torch.arange(STEP_ROWS), table)
        sum(terms, torch.zeros(())).backward()
        found.append([term.item() for term in terms])
        assert table.grad is not None
        assert not table.grad[0].any()
    assert found[0] == found[1]


def reordered(knowledge: Knowledge, order: torch.Tensor) -> Knowledge:
    """What is said of rows, said of others."""
    assert knowledge.rankings is not None
    assert knowledge.distances is not None
    assert knowledge.truth_distance is not None
    assert knowledge.trajectories is not None
    assert knowledge.histories is not None
    return dataclasses.replace(
        knowledge,
        histories=knowledge.histories[order],
        rankings=knowledge.rankings[order],
        distances=knowledge.distances[order],
        truth_distance=knowledge.truth_distance[order],
        trajectories=knowledge.trajectories[:, :, order],
    )


@pytest.mark.parametrize("method", ROWWISE)
def test_rows_may_come_in_any_order_with_their_knowledge_alone(
    method: str, sequences: PreparedData, knowledge: Knowledge
) -> None:
    train = sequences.train
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(4))
    there = Examples(**{k: v[order.numpy()] for k, v in vars(train).items()})
    chosen, table = torch.arange(STEP_ROWS), score_table()

    def total(rows: Examples, known: Knowledge, row_id: torch.Tensor) -> float:
        return sum(World(method, "ce", known, rows).losses(row_id, table), torch.zeros(())).item()

    before = total(train, knowledge, chosen)
    moved = total(there, reordered(knowledge, order), order.argsort()[chosen])
    mixed_up = total(train, reordered(knowledge, order), chosen)
    assert moved == pytest.approx(before, rel=1e-5)
    assert mixed_up != pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("model", STUDENTS)
@pytest.mark.parametrize("method", TAUGHT)
def test_an_incomplete_and_short_teacher_is_enough(
    method: str, model: str, data: PreparedData, knowledge: Knowledge
) -> None:
    assert knowledge.rankings is not None
    assert knowledge.distances is not None
    assert knowledge.trajectories is not None
    partial = dataclasses.replace(
        knowledge,
        covered=torch.arange(len(data.train)) % 3 > 0,
        rankings=knowledge.rankings[:, :2],
        distances=knowledge.distances[:, :2],
        trajectories=knowledge.trajectories[..., :2],
    )
    outcome = run(make_trial(method, model, training={"max_epochs": 1}), data, partial)
    assert all(np.isfinite(list(epoch.values())).all() for epoch in outcome.curve)
    assert outcome.teacher == {"rows": 200, "covered": 133}


@pytest.mark.parametrize("model", STUDENTS)
@pytest.mark.parametrize("method", TAUGHT)
def test_a_teacher_that_is_as_sure_of_everything_is_enough(
    method: str, model: str, data: PreparedData, knowledge: Knowledge
) -> None:
    assert knowledge.distances is not None and knowledge.truth_distance is not None
    level = dataclasses.replace(
        knowledge,
        distances=torch.full_like(knowledge.distances, 31.0),
        truth_distance=torch.full_like(knowledge.truth_distance, 31.0),
    )
    outcome = run(make_trial(method, model, training={"max_epochs": 1}), data, level)
    assert all(np.isfinite(list(epoch.values())).all() for epoch in outcome.curve)


SHORTENED = {
    "ranking-only": "top_k",
    "dllm2rec": "ranking.top_k",
    "rd": "top_k",
    "soft-label": "top_k",
    "rrd": "top_k",
}


@pytest.mark.parametrize("method", SHORTENED)
def test_a_list_that_is_made_shorter_is_said(
    method: str, data: PreparedData, knowledge: Knowledge
) -> None:
    assert knowledge.rankings is not None
    assert knowledge.distances is not None
    short = dataclasses.replace(
        knowledge, rankings=knowledge.rankings[:, :2], distances=knowledge.distances[:, :2]
    )
    settings: dict[str, Any] = {}
    layers.place(settings, SHORTENED[method], 10)
    training = {"max_epochs": 1}
    trial = make_trial(method, settings=settings, training=training)
    said = [[line["message"] for line in run(trial, data, k).log] for k in (knowledge, short)]
    line = f"method.{SHORTENED[method]}=10 is 2: the teacher's lists or the catalogue end there"
    assert line not in said[0]
    assert line in said[1]


FEW = 6
"""Items of a catalogue that is smaller than every K."""


@pytest.mark.parametrize("method", TAUGHT)
def test_a_catalogue_smaller_than_any_list_is_enough(
    method: str, data: PreparedData, knowledge: Knowledge
) -> None:
    def few(rows: Examples) -> Examples:
        history = np.where(rows.history > 0, (rows.history - 1) % FEW + 1, 0).astype(np.int32)
        # Two items of a row at most: where all are excluded nothing can be ranked.
        history[:, 2:] = 0
        length = np.minimum(rows.length, 2).astype(np.int32)
        target = ((rows.target - 1) % FEW + 1).astype(np.int32)
        return dataclasses.replace(rows, history=history, length=length, target=target)

    parts = {name: few(getattr(data, name)) for name in ("train", "valid", "test")}
    catalogue = {"item_tokens": data.item_tokens[:FEW], "item_texts": data.item_texts[:FEW]}
    small = dataclasses.replace(data, **parts, **catalogue)
    noise = torch.rand(2, 3, len(data.train), FEW, generator=torch.Generator().manual_seed(5))
    lists = noise.argsort(dim=-1) + 1
    assert knowledge.embeddings is not None
    assert knowledge.distances is not None
    known = dataclasses.replace(
        knowledge,
        target_counts=torch.from_numpy(small.target_counts()).float(),
        embeddings=knowledge.embeddings[: FEW + 1],
        rankings=lists[0, 0],
        distances=knowledge.distances[:, :FEW],
        trajectories=lists.int(),
    )
    outcome = run(make_trial(method, training={"max_epochs": 1}), small, known)
    assert all(np.isfinite(list(epoch.values())).all() for epoch in outcome.curve)
    assert LISTED > FEW
    assert outcome.ranks.max() <= FEW
