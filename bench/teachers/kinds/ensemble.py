"""Teacher kind `ensemble`: several conventional recommenders and the course of their training.

Heterogeneous members (recurrent, self-attentive, convolutional, counting) are trained on the
training rows. Their lists for every training row at four states of their training are the
trajectories that HetComp (Kang et al., WWW 2023) orders a student's lessons by; what the converged
members agree on is a ranked list like any other teacher's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)
from torch import Tensor
from torch.nn import functional

from bench.config import layers
from bench.config.files import read_student
from bench.data.rows import PreparedData, Rows
from bench.errors import ConfigError
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.ranking import target_ranks
from bench.paths import Workspace
from bench.students import properties
from bench.students.config import StudentConfig
from bench.teachers.builder import Product
from bench.teachers.kinds.blocks import blocks, unseen
from bench.teachers.kinds.counting import MODELS
from bench.teachers.kinds.members import (
    REACHED,
    Counted,
    Member,
    TimeLeft,
    Trained,
    hold_out,
    untrained,
)
from bench.training.config import TrainingConfig

Progress = Callable[[str], None]
Ids = NDArray[np.int32]

COMBINED_LENGTH = 100
DECAY = 10.0
"""An item at rank r (from 0) of a member's list has the importance exp(-r / DECAY)."""
TOLD = ("hr@20", "ndcg@20")
"""Metrics of single members that the manifest keeps."""


class MemberOptions(BaseModel):
    """One recommender."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description=f"RecBole sequential model, or one of {', '.join(MODELS)}")
    parameters: dict[str, Any] = Field(default_factory=dict, description="of the model")
    training: TrainingConfig | None = Field(None, description="of a RecBole model")

    @model_validator(mode="after")
    def _the_model_knows_its_parameters(self) -> MemberOptions:
        try:
            if self.model in MODELS:
                MODELS[self.model].Parameters.model_validate(self.parameters)
            else:
                properties.check(self.student)
        except (ConfigError, ValidationError) as error:
            raise ValueError(str(error)) from error
        if (self.training is None) != (self.model in MODELS):
            raise ValueError(f"{self.model} needs {'no ' * (self.model in MODELS)}'training'")
        if self.training is not None and self.training.selection != "validation":
            raise ValueError("states are chosen on training rows, never with test rows")
        return self

    @property
    def student(self) -> StudentConfig:
        """A RecBole model's own configuration."""
        return StudentConfig(model=self.model, parameters=self.parameters)


class EnsembleOptions(BaseModel):
    """Options of the kind `ensemble`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: dict[str, MemberOptions] = Field(
        min_length=1,
        description="by name; what a member leaves out is taken from the student of that name",
    )
    max_epochs: PositiveInt = Field(15, description="for members that do not say it themselves")
    patience: PositiveInt = Field(3, description="for members that do not say it themselves")
    held_out: float = Field(
        0.05, gt=0, lt=0.5, description="share of the training rows that chooses the states"
    )
    list_length: PositiveInt = Field(64, description="K_T, items of a trajectory's list")
    seed: NonNegativeInt = 0


class EnsembleTeacher:
    """Builder of the kind `ensemble`."""

    Options: ClassVar[type[BaseModel]] = EnsembleOptions

    @staticmethod
    def complete(options: dict[str, Any], dataset: str, workspace: Workspace) -> dict[str, Any]:
        """Take model, parameters and training from the student of a member's name, if any.

        How long a member is trained is the ensemble's to say, not the student's.
        """
        members = options.get("members")
        if not isinstance(members, Mapping):
            return options
        asked = {**EnsembleOptions.model_construct(members={}).model_dump(), **options}
        lasting = {"min_epochs": 1, **{key: asked[key] for key in ("max_epochs", "patience")}}
        students: dict[str, dict[str, Any]] = {name: {} for name in members} | {
            name: _student(name, dataset, workspace)
            for name in layers.names("students", workspace)
            if name in members
        }
        return options | {
            "members": {name: _over(students[name], own, lasting) for name, own in members.items()}
        }

    @staticmethod
    def members(
        options: EnsembleOptions, data: PreparedData, cache: Path, device: str, progress: Progress
    ) -> list[Member]:
        """The trained members, as a `mix` asks for them."""
        return make_members(options, data.train, data.n_items, data.n_users, device, progress)

    @staticmethod
    def build(
        options: EnsembleOptions, data: PreparedData, cache: Path, device: str, progress: Progress
    ) -> Product:
        """Train the members, list their items for every training row, then rank the others."""
        members = EnsembleTeacher.members(options, data, cache, device, progress)
        trajectories, converged = listed(
            members, data.train, data.n_items, options.list_length, device, progress
        )
        rankings, distances = combined(converged, data.train, data.n_items, device)
        in_top_ten = float((rankings[:, :10] == data.train.target[:, None]).any(1).mean())
        valid = rank_targets(members, data.valid, device)
        test = rank_targets(members, data.test, device)
        stories = {
            member.name: member.story
            | {
                "metrics": {
                    split: {name: metrics_from_ranks(ranks[member.name])[name] for name in TOLD}
                    for split, ranks in (("valid", valid), ("test", test))
                }
            }
            for member in members
        }
        return Product(
            metrics={
                "valid": metrics_from_ranks(valid[""]),
                "test": metrics_from_ranks(test[""]),
            },
            test_ranks=test[""],
            recipe={
                "members": stories,
                "states": [f"first epoch at {share:.0%} of the best" for share in REACHED],
                "own_ranking": "mean of the members' log-softmax over the catalogue",
                "list_policy": "the row's history is left out, its target is not; "
                "trajectories leave out neither",
                "distance": f"M - sum over the M converged members of exp(-rank / {DECAY:g})",
                "share_of_training_targets_in_top_10": round(in_top_ten, 4),
            },
            rankings=rankings,
            distances=distances,
            trajectories=trajectories,
            members=[member.name for member in members],
            notes=[
                "All lists are in-sample: the members were trained on the targets of the rows "
                f"they speak of ({in_top_ten:.1%} of these targets are in the top 10 of the "
                "combined list).",
                "It learns from the ids that the student sees, with no other source of knowledge.",
            ],
        )


def _student(name: str, dataset: str, workspace: Workspace) -> dict[str, Any]:
    """A student's model, parameters and training for a dataset."""
    file = read_student(name, workspace)
    tuned = file.datasets.get(dataset)
    own = file.model_dump(include={"model", "parameters", "training"})
    return layers.merge(own, tuned.model_dump() if tuned else {})


def _over(student: dict[str, Any], own: Any, lasting: dict[str, Any]) -> Any:
    """A member's own options laid over those of the student of its name."""
    if own is not None and not isinstance(own, Mapping):
        return own  # a mistake, told when the options are validated
    trained = layers.merge(student, own).get("model") not in MODELS
    return layers.merge(student, {"training": lasting} if trained else {}, own)


def make_members(
    options: EnsembleOptions,
    train: Rows,
    n_items: int,
    n_users: int,
    device: str,
    progress: Progress,
) -> list[Member]:
    """Train every member; the states of each are chosen on rows held out of `train`."""
    rows, held_out = hold_out(train, options.held_out, options.seed)
    progress(f"{len(rows)} rows to learn from, {len(held_out)} held out to choose states by")
    with torch.random.fork_rng():
        members: list[Member] = []
        for name, member in options.members.items():
            if member.training is None:
                model = MODELS[member.model]
                parameters = model.Parameters.model_validate(member.parameters)
                members.append(Counted(name, model(parameters, rows, n_items)))
            else:
                members.append(
                    untrained(
                        name, member.student, member.training, rows, n_items, n_users, options.seed
                    )
                )
        trained = [member for member in members if isinstance(member, Trained)]
        for place, one in enumerate(trained, 1):
            left = TimeLeft(one.training.max_epochs)
            head = f"member {one.name} ({place} of {len(trained)})"

            def tell(line: str, head: str = head, left: TimeLeft = left) -> None:
                progress(f"{head}: {line}, {left.step()} for it")

            one.train(rows, held_out, n_items, device, tell)
    return members


@torch.no_grad()
def listed(
    members: Sequence[Member],
    rows: Rows,
    n_items: int,
    size: int,
    device: str,
    progress: Progress,
) -> tuple[Ids, Ids]:
    """What the members list for every row, at every state and, at greater length, at the last.

    Args:
        members: M trained members, left in their last state.
        rows: R rows.
        n_items: N.
        size: K_T of the trajectories; all items where the catalogue is smaller.
        device: name of the torch device to compute on.
        progress: takes one line of text at a time.

    Returns:
        Trajectories int32 [M, C, R, K_T]; and the converged lists int32 [M, R, K'], long enough
        for `combined` to find 100 items that are not in the row's history.
    """
    length = rows.history.shape[1]
    size = min(size, n_items)
    longest = min(max(size, COMBINED_LENGTH + length), n_items)
    trajectories = np.empty((len(members), len(REACHED), len(rows), size), dtype=np.int32)
    converged = np.empty((len(members), len(rows), longest), dtype=np.int32)
    left = TimeLeft(sum(len(set(member.states)) for member in members))
    for m, member in enumerate(members):
        for state in sorted(set(member.states)):
            member.load(state)
            lists = converged[m]
            for part, block in blocks(rows, device):
                scores = member.scores(block.history, block.length, block.user)
                lists[part] = (scores.topk(longest).indices + 1).int().cpu().numpy()
            for place in (c for c, chosen in enumerate(member.states) if chosen == state):
                trajectories[m, place] = lists[:, :size]
            progress(f"lists of {member.name}, saved state {state + 1}: {left.step()}")
    return trajectories, converged


def combined(lists: Ids, rows: Rows, n_items: int, device: str) -> tuple[Ids, NDArray[np.float32]]:
    """The items on which M lists of every row agree, the row's history left out.

    K is 100, or less where the catalogue or the lists are too short.

    Args:
        lists: int32 [M, R, K'], best first.
        rows: the R rows; a target that is in its history stays.
        n_items: N.
        device: name of the torch device to compute on.

    Returns:
        Ids int32 [R, K] and float32 [R, K], M less the summed importance of each, ascending.
    """
    models, _, depth = lists.shape
    size = min(COMBINED_LENGTH, n_items - rows.history.shape[1], depth - rows.history.shape[1])
    importance = torch.exp(-torch.arange(depth, device=device) / DECAY)
    ids = np.empty((len(rows), size), dtype=np.int32)
    distances = np.empty((len(rows), size), dtype=np.float32)
    for part, block in blocks(rows, device):
        total = torch.zeros(len(block), n_items + 1, device=device)
        for one in lists:
            places = torch.from_numpy(one[part]).to(device, torch.int64)
            total.scatter_add_(1, places, importance.expand(len(block), -1))
        best, items = unseen(total[:, 1:], block.history, block.target).topk(size)
        ids[part], distances[part] = items.int().cpu().numpy(), (models - best).cpu().numpy()
    return ids, np.maximum(distances, 0.0)


@torch.no_grad()
def rank_targets(members: Sequence[Member], rows: Rows, device: str) -> dict[str, Ids]:
    """Rank of each row's target over the catalogue; ties count against the target.

    Returns:
        int32 [R] by member, each in the state it is in, and by the empty name that of all
        together: the mean of their log-softmax.
    """
    ranks: dict[str, list[Tensor]] = {name: [] for name in ("", *(m.name for m in members))}
    for _, block in blocks(rows, device):
        target = block.target - 1
        total: Tensor | float = 0.0
        for member in members:
            scores = member.scores(block.history, block.length, block.user)
            ranks[member.name].append(target_ranks(scores, target).cpu())
            total = total + functional.log_softmax(scores, dim=1)
        assert isinstance(total, Tensor)  # noqa: S101 - there is a member
        ranks[""].append(target_ranks(total, target).cpu())
    return {name: torch.cat(parts).numpy().astype(np.int32) for name, parts in ranks.items()}
