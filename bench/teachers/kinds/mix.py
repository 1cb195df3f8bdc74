"""Teacher kind `mix`: what several teachers say together, each with its share.

A teacher of item texts and an ensemble of conventional models know different things. A row's
scores are the weighted mean of their log-probabilities; validation rows choose the weights.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import product as grid
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)
from torch import Tensor

from bench import layers
from bench.data.examples import Examples, PreparedData
from bench.errors import BenchError
from bench.evaluation.metrics import TargetRanks, metrics_from_ranks, split_metrics
from bench.evaluation.ranking import RankedBlocks, SeenItems
from bench.paths import Workspace
from bench.progress import task
from bench.teachers.builder import Builder, Product, resolved_options
from bench.teachers.config import TeacherConfig, configured, read_teacher
from bench.teachers.lists import Lists
from bench.teachers.recipe import TEXTS, texts_hash
from bench.teachers.recommenders.lists import lists_by, log_probabilities
from bench.teachers.recommenders.members import TOLD, Member
from bench.teachers.registry import KINDS, register_teacher
from bench.teachers.rows import blocks
from bench.teachers.towers.fitting import SELECT, Fitted
from bench.training.rows import DeviceRows

_logger = logging.getLogger(__name__)

Shares = tuple[float, ...]


class PartOptions(BaseModel):
    """One of the teachers that are mixed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(description="teacher kind that can be mixed, such as `text` or `ensemble`")
    options: dict[str, Any] = Field(default_factory=dict, description="of that kind")

    @model_validator(mode="after")
    def _the_kind_can_be_mixed_and_knows_its_options(self) -> PartOptions:
        try:
            builder = KINDS.load(self.kind)
            builder.Options.model_validate(self.options)
        except (BenchError, ValidationError) as error:
            raise ValueError(str(error)) from error
        if not hasattr(builder, "members"):
            able = [name for name in KINDS.names() if hasattr(KINDS.load(name), "members")]
            raise ValueError(f"'{self.kind}' cannot be mixed; {', '.join(able)} can")
        return self


class MixOptions(BaseModel):
    """Options of the kind `mix`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: dict[str, PartOptions] = Field(
        min_length=2,
        max_length=4,
        description="by name; what a part leaves out is taken from the teacher of that name",
    )
    embeddings: str = Field("text", description="the part whose item vectors are handed on")
    steps: PositiveInt = Field(10, description="shares are tried in steps of 1 / steps")
    list_length: PositiveInt = Field(100, description="K_T, items listed per training row")

    @model_validator(mode="after")
    def _the_embeddings_are_those_of_a_part(self) -> MixOptions:
        if self.embeddings not in self.parts:
            raise ValueError(
                f"'embeddings' ({self.embeddings}) must be one of {', '.join(self.parts)}"
            )
        kind = self.parts[self.embeddings].kind
        if "embeddings" not in KINDS.get(kind).signals:
            raise ValueError(
                f"'embeddings' ({self.embeddings}) is of kind '{kind}', which has no item vectors"
            )
        return self


@register_teacher("mix", signals={"embeddings", "rankings", "confidence", "truth-distance"})
class MixTeacher(Builder):
    """Builder of the kind `mix`."""

    Options: ClassVar[type[BaseModel]] = MixOptions

    @staticmethod
    def complete(options: dict[str, Any], dataset: str, workspace: Workspace) -> dict[str, Any]:
        """Take kind and options from the teacher of a part's name, if there is one.

        Options that name things in other files are filled in, as they are when the part is built
        by itself.
        """
        parts = options.get("parts")
        if not isinstance(parts, Mapping):
            return options
        return options | {
            "parts": {name: _over(name, own, dataset, workspace) for name, own in parts.items()}
        }

    @staticmethod
    def build(options: MixOptions, data: PreparedData, cache: Path, device: str) -> Product:
        """Make the parts, choose shares, list items for the training rows, rank the others."""
        parts = {
            name: _members(name, part, data, cache, device) for name, part in options.parts.items()
        }
        (vectors, *_) = (m for m in parts[options.embeddings] if isinstance(m, Fitted))
        groups = list(parts.values())
        tried = list(simplex(len(groups), options.steps))
        seen = SeenItems.of(data.sequences, torch.device(device))
        valid = dict(zip(tried, ranks_of(groups, data.valid, tried, device, seen), strict=True))
        by_shares = {shares: metrics_from_ranks(found.ranked) for shares, found in valid.items()}
        best = max(tried, key=lambda shares: by_shares[shares][SELECT])
        _logger.info(f"shares of {', '.join(parts)}: {_words(best, ', ')}")
        alone = list(simplex(len(groups), 1))
        test, *others = ranks_of(groups, data.test, [best, *alone], device, seen)
        lists = mixed_lists(groups, best, data.train, options.list_length, device)
        in_top_ten = lists.targets_in_top(data.train, 10)
        return Product(
            embeddings=vectors.item_vectors(),
            rankings=lists.ids,
            distances=lists.distances,
            truth_distance=lists.truth,
            test_ranks=test.ranked,
            masked_test_ranks=test.masked,
            metrics=split_metrics(valid=valid[best], test=test),
            recipe={
                TEXTS: texts_hash(data),
                "shares": dict(zip(parts, best, strict=True)),
                f"validation_{SELECT}_by_shares": {
                    _words(shares, " "): round(found[SELECT], 5)
                    for shares, found in by_shares.items()
                },
                "parts": {
                    name: _story(members, by_shares[shares], metrics_from_ranks(ranks.ranked))
                    for (name, members), shares, ranks in zip(
                        parts.items(), alone, others, strict=True
                    )
                },
                "own_ranking": "sum over the parts of share times the mean of their members' "
                "log-softmax over the catalogue",
                "list_policy": "the row's history is left out, its target is not",
                "distance": "less that sum",
                "share_of_training_targets_in_top_10": round(in_top_ten, 4),
            },
            notes=[
                "The lists are in-sample: the parts were trained on the targets of the rows they "
                f"speak of ({in_top_ten:.1%} of these targets are in the row's top 10). Validation "
                "rows chose the shares.",
                "It reads item texts, which the student does not; histories and rows are the "
                "student's own.",
            ],
        )


def simplex(parts: int, steps: int) -> Iterator[Shares]:
    """All shares of that many parts that are multiples of 1 / steps and sum to 1."""
    for counts in grid(range(steps, -1, -1), repeat=parts):
        if sum(counts) == steps:
            yield tuple(count / steps for count in counts)


@torch.no_grad()
def ranks_of(
    parts: Sequence[Sequence[Member]],
    rows: Examples,
    tried: Sequence[Shares],
    device: str,
    seen: SeenItems | None = None,
) -> list[TargetRanks]:
    """Ranks of the rows' targets under each of several shares.

    Args:
        parts: the members of each part.
        rows: R rows.
        tried: shares of the parts.
        device: name of the torch device to compute on.
        seen: what users had before, where it is known.

    Returns:
        Those for each of `tried`.
    """
    ranked = [RankedBlocks(seen) for _ in tried]
    for _, block in blocks(rows, device):
        log_p = torch.stack([log_probabilities(members, block) for members in parts])
        for found, shares in zip(ranked, tried, strict=True):
            found.add(_weighted(log_p, shares), block)
    return [found.found() for found in ranked]


def mixed_lists(
    parts: Sequence[Sequence[Member]], shares: Shares, rows: Examples, size: int, device: str
) -> Lists:
    """The items of the highest weighted mean of log-probabilities, the row's history left out.

    Args:
        parts: the members of each part.
        shares: of the parts; the sum is 1.
        rows: R rows; a target that is in its history stays.
        size: K_T; fewer where the catalogue is too small.
        device: name of the torch device to compute on.

    Returns:
        Lists whose distances are minus that mean, 0 or more.
    """
    used = [(members, share) for members, share in zip(parts, shares, strict=True) if share]

    def scores(block: DeviceRows) -> Tensor:
        log_p = [log_probabilities(members, block) for members, _ in used]
        return _weighted(torch.stack(log_p), [share for _, share in used])

    return lists_by(scores, rows, size, device)


def _weighted(log_p: Tensor, shares: Sequence[float]) -> Tensor:
    """The weighted sum [B, N] of [P, B, N]."""
    return torch.einsum("pbn,p->bn", log_p, log_p.new_tensor(shares))


def _members(
    name: str, part: PartOptions, data: PreparedData, cache: Path, device: str
) -> list[Member]:
    """The trained members of a part, each in its last state."""
    builder: Any = KINDS.load(part.kind)
    options = builder.Options.model_validate(part.options)
    with task(name):
        members: list[Member] = builder.members(options, data, cache, device)
    for member in members:
        member.load(member.states[-1])
    return members


def _over(name: str, own: Any, dataset: str, workspace: Workspace) -> Any:
    """A part's own kind and options laid over those of the teacher of its name."""
    if own is not None and not isinstance(own, Mapping):
        return own  # a mistake, which validation of the options reports
    file: dict[str, Any] = {}
    where = f"part '{name}' of the mix"
    if name in configured(workspace):
        config = read_teacher(name, workspace)
        file = {"kind": config.kind, "options": config.options_for(dataset)}
    part = layers.merge(file, own)
    config = layers.build(TeacherConfig, part, where)
    options = resolved_options(config, dataset, workspace, where)
    return part | {"options": options.model_dump(mode="json")}


def _story(
    members: Sequence[Member], valid: Mapping[str, float], test: Mapping[str, float]
) -> dict[str, Any]:
    """What the manifest tells of a part: its members, and its metrics when it is alone."""
    metrics = {
        split: {name: found[name] for name in TOLD}
        for split, found in (("valid", valid), ("test", test))
    }
    return {"members": {member.name: member.story for member in members}, "metrics": metrics}


def _words(shares: Shares, between: str) -> str:
    return between.join(f"{share:g}" for share in shares)
