"""What two towers say of rows: the ranks of targets and the closest items."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.examples import Examples
from bench.evaluation.metrics import TargetRanks
from bench.evaluation.ranking import RankedBlocks, SeenItems
from bench.teachers.lists import Lists
from bench.teachers.rows import blocks, list_length, unseen
from bench.teachers.towers.tower import TwoTowers


@torch.no_grad()
def rank_targets(towers: TwoTowers, rows: Examples, seen: SeenItems | None = None) -> TargetRanks:
    """Ranks of the rows' targets; `seen` is what users had before, where it is known."""
    points, device = towers.points(), towers.texts.device
    ranked = RankedBlocks(seen)
    for _, block in blocks(rows, device):
        logits = towers.logits(points, towers.queries(points, block.history, block.length))
        ranked.add(logits, block)
    return ranked.found()


@torch.no_grad()
def history_vectors(towers: TwoTowers, rows: Examples) -> NDArray[np.float32]:
    """The queries of the histories, in the unit of the exported points: float32 [R, D]."""
    points, device = towers.points(), towers.texts.device
    queries = [
        towers.queries(points, block.history, block.length).cpu()
        for _, block in blocks(rows, device)
    ]
    return torch.cat(queries).numpy() / np.float32(towers.unit())


@torch.no_grad()
def ranked_lists(towers: TwoTowers, rows: Examples, size: int, keep_target: bool = True) -> Lists:
    """The items closest to each row's query, its history left out.

    Args:
        towers: trained towers.
        rows: R rows.
        size: K_T; fewer where the catalogue is too small.
        keep_target: keep a target that is in its row's history, of which the list then tells that
            it is the target.
    """
    points, device = towers.points(), towers.texts.device
    size = list_length(rows, len(points), size, keep_target=keep_target)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for _, block in blocks(rows, device):
        queries = towers.queries(points, block.history, block.length)
        kept = block.target if keep_target else None
        logits = unseen(towers.logits(points, queries), block.history, kept)
        closest = logits.topk(size).indices
        distance = (queries[:, None] - points[closest - 1]).norm(dim=2)
        # Rounding can order near ties otherwise in logits than in distances.
        distance, order = distance.sort(dim=1, stable=True)
        truth = (queries - points[block.target - 1]).norm(dim=1)
        parts.append((closest.gather(1, order).int().cpu(), distance.cpu(), truth.cpu()))
    return Lists(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))
