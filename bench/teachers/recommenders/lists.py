"""What recommenders list at every state of their training, and what they list together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bench.data.examples import Examples, Ids
from bench.evaluation.metrics import TargetRanks
from bench.evaluation.ranking import RankedBlocks, SeenItems
from bench.progress import track
from bench.teachers.lists import Lists
from bench.teachers.recommenders.members import REACHED, Member
from bench.teachers.rows import blocks, list_length, unseen
from bench.training.rows import DeviceRows

_logger = logging.getLogger(__name__)

COMBINED_LENGTH = 100
DECAY = 10.0
"""An item at rank r (from 0) of a member's list has the importance exp(-r / DECAY)."""


@torch.no_grad()
def listed(
    members: Sequence[Member],
    rows: Examples,
    n_items: int,
    size: int,
    device: str,
) -> tuple[Ids, Ids]:
    """What the members list for every row, at every state and, at greater length, at the last.

    Args:
        members: M trained members, left in their last state.
        rows: R rows.
        n_items: N.
        size: K_T of the trajectories; all items where the catalogue is smaller.
        device: name of the torch device to compute on.

    Returns:
        Trajectories int32 [M, C, R, K_T]; and the converged lists int32 [M, R, K'], long enough
        for `combined` to find 100 items that are not in the row's history.
    """
    length = rows.history.shape[1]
    size = min(size, n_items)
    longest = min(max(size, COMBINED_LENGTH + length), n_items)
    trajectories = np.empty((len(members), len(REACHED), len(rows), size), dtype=np.int32)
    converged = np.empty((len(members), len(rows), longest), dtype=np.int32)
    states = [
        (m, state) for m, member in enumerate(members) for state in sorted(set(member.states))
    ]
    with track("lists of saved states", len(states) * len(rows), "rows") as advance:
        for m, state in states:
            member, lists = members[m], converged[m]
            member.load(state)
            for part, block in blocks(rows, device):
                scores = member.scores(block.history, block.length, block.user)
                lists[part] = (scores.topk(longest).indices + 1).int().cpu().numpy()
                advance(len(block.user))
            for place in (c for c, chosen in enumerate(member.states) if chosen == state):
                trajectories[m, place] = lists[:, :size]
    return trajectories, converged


def combined(
    lists: Ids, rows: Examples, n_items: int, device: str
) -> tuple[Ids, NDArray[np.float32]]:
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
    size = list_length(rows, n_items, COMBINED_LENGTH)
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
def rank_targets(
    members: Sequence[Member], rows: Examples, device: str, seen: SeenItems | None = None
) -> dict[str, TargetRanks]:
    """Ranks of the rows' targets over the catalogue.

    Args:
        members: each in the state it is in.
        rows: R rows.
        device: name of the torch device to compute on.
        seen: what users had before, where it is known.

    Returns:
        Those by member, and by the empty name those of all together: the mean of their
        log-softmax.
    """
    ranked = {name: RankedBlocks(seen) for name in ("", *(m.name for m in members))}
    for _, block in blocks(rows, device):
        total: Tensor | float = 0.0
        for member in members:
            scores = member.scores(block.history, block.length, block.user)
            ranked[member.name].add(scores, block)
            total = total + functional.log_softmax(scores, dim=1)
        assert isinstance(total, Tensor)  # noqa: S101 - there is a member
        ranked[""].add(total, block)
    return {name: one.found() for name, one in ranked.items()}


def log_probabilities(members: Sequence[Member], block: DeviceRows) -> Tensor:
    """Mean log-softmax of members over the catalogue, float32 [B, N], for B rows."""
    total: Tensor = sum(
        functional.log_softmax(member.scores(block.history, block.length, block.user), dim=1)
        for member in members
    )  # type: ignore[assignment]
    return total / len(members)


@torch.no_grad()
def lists_by(
    scores: Callable[[DeviceRows], Tensor],
    rows: Examples,
    size: int,
    device: str,
    *,
    keep_target: bool = True,
) -> Lists:
    """The items of the highest log-probabilities, the row's history left out.

    Args:
        scores: of a block of B rows the log-probabilities float32 [B, N].
        rows: R rows.
        size: K_T; fewer where the catalogue is too small.
        device: name of the torch device to compute on.
        keep_target: keep a target that is in its row's history, of which the list then tells that
            it is the target.

    Returns:
        Lists whose distances are minus the log-probability, 0 or more.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    most = 0
    for _, block in blocks(rows, device):
        logs = scores(block)
        most = most or list_length(rows, logs.shape[1], size, keep_target=keep_target)
        truth = logs.gather(1, block.target[:, None] - 1)[:, 0]
        kept = block.target if keep_target else None
        best, ids = unseen(logs, block.history, kept).topk(most)
        found.append((ids.int().cpu(), -best.cpu(), -truth.cpu()))
    return Lists(*(torch.cat(column).numpy() for column in zip(*found, strict=True)))
