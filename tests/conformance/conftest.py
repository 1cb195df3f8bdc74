"""A small world in which every registered method can be run by the real trial runner."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.examples import Examples, PreparedData
from bench.data.prepare.windows import examples_at, ordinals
from bench.distillation import Knowledge, Method
from bench.execution.trial import run_trial
from bench.plan import Trial
from bench.records.record import Outcome
from bench.registry import METHODS
from bench.students.adapter import Adapter
from bench.students.config import StudentConfig
from bench.training.config import TrainingConfig
from bench.training.rows import DeviceRows

N_ITEMS, N_USERS, HISTORY, LISTED = 30, 40, 5, 12
USERS, ITEMS_OF_USER = 20, 11
"""Of `sequences`."""
STUDENTS = {
    "SASRec": {"hidden_size": 16, "inner_size": 16, "n_layers": 1},
    "GRU4Rec": {"embedding_size": 16, "hidden_size": 16},
    "Caser": {"embedding_size": 16},
}
READ_WHOLE = {
    "BERT4Rec": {"hidden_size": 16, "inner_size": 16, "n_layers": 1},
    "NARM": {"embedding_size": 16, "hidden_size": 16},
    "STAMP": {"embedding_size": 16},
    "NextItNet": {"embedding_size": 16, "block_num": 1},
    "LightSANs": {"hidden_size": 16, "inner_size": 16, "n_layers": 1, "k_interests": 2},
}
"""Students that run RecBole's forward as it is, and take no prompts."""
TRAINING_OF = {"BERT4Rec": {"objective": "cloze", "learning_rate": 0.02}}
"""Of students with an objective of their own. Read at its mask, BERT4Rec encodes all histories
alike at first: after two epochs at 0.001 the scores of `learn` would differ by rounding alone."""


def pairs(models: Iterable[str]) -> list[tuple[str, str]]:
    """Each method with each of the models that can be trained by it."""
    return [
        (entry.name, model)
        for entry in METHODS
        for model in models
        if model in STUDENTS or not prompts_of(METHODS.load(entry.name))
    ]


def prompts_of(method: type[Method]) -> int:
    return method.prompt_length(method.Config())


def rows(count: int, seed: int) -> Examples:
    random = np.random.default_rng(seed)
    length = random.integers(1, HISTORY + 1, count).astype(np.int32)
    history = random.integers(1, N_ITEMS + 1, (count, HISTORY)).astype(np.int32)
    history[np.arange(HISTORY) >= length[:, None]] = 0
    # A rule that can be learned: the target follows the last item.
    target = history[np.arange(count), length - 1] % N_ITEMS + 1
    return Examples(
        history=history,
        length=length,
        target=target.astype(np.int32),
        user=random.integers(0, N_USERS, count).astype(np.int32),
        ordinal=length,
    )


@pytest.fixture(scope="session")
def data() -> PreparedData:
    return PreparedData(
        dataset="toy",
        protocol="temporal-5",
        item_tokens=[f"i{i}" for i in range(N_ITEMS)],
        item_texts=[f"item {i}" for i in range(N_ITEMS)],
        user_tokens=[f"u{u}" for u in range(N_USERS)],
        train=rows(200, 1),
        valid=rows(40, 2),
        test=rows(60, 3),
        catalogue_fingerprint="c",
        split_fingerprint="s",
        fingerprint="f",
    )


@pytest.fixture(scope="session")
def sequences(data: PreparedData) -> PreparedData:
    """Training rows of whole sequences, as many as those of `data`, in mixed order."""
    random = np.random.default_rng(5)
    user = np.repeat(np.arange(USERS, dtype=np.int32), ITEMS_OF_USER)
    item = random.integers(0, N_ITEMS, len(user)).astype(np.int32)
    ordinal, _ = ordinals(user)
    train = examples_at(random.permutation(np.flatnonzero(ordinal)), user, item, ordinal, HISTORY)
    assert len(train) == len(data.train)
    return dataclasses.replace(data, train=train)


@pytest.fixture(scope="session")
def knowledge(data: PreparedData) -> Knowledge:
    """A good teacher: the true target first, then random items."""
    generator = torch.Generator().manual_seed(4)
    scores = torch.rand(len(data.train), N_ITEMS, generator=generator)
    target = torch.from_numpy(data.train.target.astype(np.int64))
    scores[torch.arange(len(target)), target - 1] = -1.0
    embeddings = torch.randn(N_ITEMS + 1, 8, generator=generator)
    embeddings[0] = 0
    distances = torch.rand(len(target), LISTED, generator=generator).sort(dim=1).values
    return Knowledge(
        target_counts=torch.from_numpy(data.target_counts()).float(),
        embeddings=embeddings,
        rankings=scores.argsort(dim=1)[:, :LISTED] + 1,
        distances=distances,
        covered=torch.ones(len(target), dtype=torch.bool),
        truth_distance=distances[:, 0].clone(),
        trajectories=trajectories(scores, generator),
        trajectory_names=("first", "second"),
        histories=torch.randn(len(target), 8, generator=generator),
    )


def trajectories(scores: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Lists of two models that come closer to `scores` [R, N] over three states."""
    noise = torch.rand(2, 3, *scores.shape, generator=generator)
    share = torch.tensor([0.9, 0.5, 0.1]).view(1, 3, 1, 1)
    lists = (share * noise + (1 - share) * scores).argsort(dim=-1)[..., :LISTED] + 1
    return lists.int()


def make_trial(method: str, model: str = "SASRec", **changes: Any) -> Trial:
    entry = METHODS.get(method)
    training = {"objective": "ce", "batch_size": 32, "max_epochs": 2, "min_epochs": 1}
    training |= TRAINING_OF.get(model, {})
    return Trial(
        dataset="toy",
        protocol="temporal-5",
        data_fingerprint="f",
        student=model.lower(),
        student_config=StudentConfig(model=model, parameters=(STUDENTS | READ_WHOLE)[model]),
        training=TrainingConfig(**(training | changes.pop("training", {}))),
        method=method,
        method_settings=changes.pop("settings", {}),
        method_code=entry.code_digest,
        seed=changes.pop("seed", 0),
        **changes,
    )


def run(trial: Trial, data: PreparedData, knowledge: Knowledge | None) -> Outcome:
    method_class = METHODS.load(trial.method)
    return run_trial(trial, data, knowledge, method_class, "cpu")


def build(trial: Trial, knowledge: Knowledge, rows: DeviceRows) -> tuple[Method, Adapter]:
    """The method of a trial, attached to its student."""
    torch.manual_seed(0)
    student = Adapter.of(
        trial.student_config,
        n_items=N_ITEMS,
        history=HISTORY,
        known_users=torch.ones(N_USERS, dtype=torch.bool),
        objective=trial.training.objective,
    )
    method_class = METHODS.load(trial.method)
    method = method_class(method_class.Config.model_validate(trial.method_settings))
    method.attach(student, dataclasses.replace(knowledge, rows=rows))
    return method, student
