"""Teacher kind `ensemble`: several conventional recommenders and the course of their training.

Heterogeneous members (recurrent, self-attentive, convolutional, counting) are trained on the
training rows. Their lists for every training row at four states of their training are the
trajectories that HetComp (Kang et al., WWW 2023) orders a student's lessons by; what the converged
members agree on is a ranked list like any other teacher's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
)

from bench import layers
from bench.data.examples import Examples, PreparedData
from bench.evaluation.metrics import metrics_from_ranks, split_metrics
from bench.evaluation.ranking import SeenItems
from bench.paths import Workspace
from bench.progress import task
from bench.teachers.builder import Builder, Product
from bench.teachers.recommenders.lists import DECAY, combined, listed, rank_targets
from bench.teachers.recommenders.members import (
    REACHED,
    TOLD,
    BaselineMember,
    Member,
    Trained,
    untrained,
)
from bench.teachers.recommenders.options import FITTED, MemberOptions, student_options
from bench.teachers.registry import register_teacher
from bench.teachers.rows import hold_out

_logger = logging.getLogger(__name__)


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


@register_teacher("ensemble", signals={"rankings", "confidence", "trajectories"})
class EnsembleTeacher(Builder):
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
            name: student_options(name, dataset, workspace)
            for name in layers.names("students", workspace)
            if name in members
        }
        return options | {
            "members": {name: _over(students[name], own, lasting) for name, own in members.items()}
        }

    @staticmethod
    def members(
        options: EnsembleOptions, data: PreparedData, cache: Path, device: str
    ) -> list[Member]:
        """The trained members, as a `mix` asks for them."""
        return make_members(options, data.train, data.n_items, data.n_users, device)

    @staticmethod
    def build(options: EnsembleOptions, data: PreparedData, cache: Path, device: str) -> Product:
        """Train the members, list their items for every training row, then rank the others."""
        members = EnsembleTeacher.members(options, data, cache, device)
        trajectories, converged = listed(
            members, data.train, data.n_items, options.list_length, device
        )
        rankings, distances = combined(converged, data.train, data.n_items, device)
        in_top_ten = float((rankings[:, :10] == data.train.target[:, None]).any(1).mean())
        seen = SeenItems.of(data.sequences, torch.device(device))
        valid = rank_targets(members, data.valid, device, seen)
        test = rank_targets(members, data.test, device, seen)
        stories = {
            member.name: member.story
            | {
                "metrics": {
                    split: {
                        name: metrics_from_ranks(ranks[member.name].ranked)[name] for name in TOLD
                    }
                    for split, ranks in (("valid", valid), ("test", test))
                }
            }
            for member in members
        }
        return Product(
            metrics=split_metrics(valid=valid[""], test=test[""]),
            test_ranks=test[""].ranked,
            masked_test_ranks=test[""].masked,
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


def _over(student: dict[str, Any], own: Any, lasting: dict[str, Any]) -> Any:
    """A member's own options laid over those of the student of its name."""
    if own is not None and not isinstance(own, Mapping):
        return own  # a mistake, which validation of the options reports
    trained = layers.merge(student, own).get("model") not in FITTED
    return layers.merge(student, {"training": lasting} if trained else {}, own)


def make_members(
    options: EnsembleOptions,
    train: Examples,
    n_items: int,
    n_users: int,
    device: str,
) -> list[Member]:
    """Train every member; the states of each are chosen on rows held out of `train`."""
    rows, held_out = hold_out(train, options.held_out, options.seed)
    _logger.info(f"{len(rows)} rows to learn from, {len(held_out)} held out to choose states by")
    with torch.random.fork_rng():
        members: list[Member] = []
        for name, member in options.members.items():
            if member.training is None:
                members.append(BaselineMember(name, member.baseline.fit(rows, n_items)))
            else:
                members.append(
                    untrained(
                        name, member.student, member.training, rows, n_items, n_users, options.seed
                    )
                )
        trained = [member for member in members if isinstance(member, Trained)]
        for place, one in enumerate(trained, 1):
            with task(f"member {one.name} ({place} of {len(trained)})"):
                one.train(rows, held_out, n_items, device)
    return members
