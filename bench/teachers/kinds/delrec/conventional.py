"""The conventional recommender whose behaviour a language model is taught, and its lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.examples import Examples, Ids
from bench.evaluation.ranking import target_ranks
from bench.files import write_whole
from bench.teachers.kinds.delrec.questions import ListedRows
from bench.teachers.recommenders.members import Trained
from bench.teachers.rows import blocks, list_length, rows_where, unseen
from bench.training.rows import DeviceRows


class Conventional:
    """A trained recommender.

    Args:
        member: in its last state, on its device.
    """

    def __init__(self, member: Trained) -> None:
        self.member = member
        self.device = str(next(member.student.parameters()).device)

    @torch.no_grad()
    def lists(self, rows: Examples, size: int) -> Ids:
        """The items it ranks highest: int32 [R, size], best first, fewer in a small catalogue.

        A row's history is left out, its target never.
        """
        found, most = [], 0
        for block, scores in self._blocks(rows):
            most = most or list_length(rows, scores.shape[1], size)
            best = unseen(scores, block.history, block.target).topk(most).indices
            found.append(best.int().cpu().numpy())
        return np.concatenate(found)

    @torch.no_grad()
    def ranked(self, rows: Examples, size: int) -> tuple[Ids, Ids]:
        """The items at the head of the full ranking, nothing left out, and the targets' ranks.

        Returns:
            int32 [R, size], best first, fewer in a small catalogue; and int32 [R], 1..N, where
            ties count against the target.
        """
        heads, ranks = [], []
        for block, scores in self._blocks(rows):
            best = scores.topk(min(size, scores.shape[1])).indices + 1
            heads.append(best.int().cpu().numpy())
            ranks.append(target_ranks(scores, block.target - 1).int().cpu().numpy())
        return np.concatenate(heads), np.concatenate(ranks)

    def listed(self, rows: Examples, size: int, shortest: int) -> ListedRows:
        """Rows and the lists of their histories, with and without the last item.

        Args:
            rows: R rows.
            size: h, items of a list.
            shortest: length of a history for which the list without its last item is made.
        """
        following = self.lists(rows, size)
        long = np.asarray(rows.length) >= shortest
        preceding = np.zeros_like(following)
        if long.any():
            preceding[long] = self.lists(without_last(rows_where(rows, long)), following.shape[1])
        return ListedRows(rows, following, preceding)

    def _blocks(self, rows: Examples) -> Iterator[tuple[DeviceRows, Tensor]]:
        """B rows at a time and their scores float32 [B, N], in order."""
        for _, block in blocks(rows, self.device):
            yield block, self.member.scores(block.history, block.length, block.user)


def trained_or_kept(
    member: Trained,
    rows: Examples,
    held_out: Examples,
    n_items: int,
    file: Path,
    device: str,
) -> Conventional:
    """A recommender in its best state, trained unless a file has it.

    Args:
        member: with its initial parameters.
        rows: to learn from.
        held_out: choose the epoch.
        n_items: N.
        file: keeps the best state, for a run that goes on where this one was killed.
        device: name of the torch device to compute on.
    """
    if file.is_file():
        kept = torch.load(file, weights_only=True, map_location="cpu")
        member.student.load_state_dict(kept["student"])
        member.story = kept["story"]
        member.student.to(device).eval()
    else:
        member.train(rows, held_out, n_items, device)
        member.load(member.states[-1])
        state = {name: value.cpu() for name, value in member.student.state_dict().items()}
        kept = {"student": state, "story": member.story}
        write_whole(file, lambda stream: torch.save(kept, stream))
    return Conventional(member)


def without_last(rows: Examples) -> Examples:
    """Rows whose target is the last item of the history, which ends before it.

    Args:
        rows: R rows with two items or more in each history.
    """
    every, last = np.arange(len(rows)), np.asarray(rows.length) - 1
    history = np.array(rows.history)
    target: NDArray[np.int32] = history[every, last]
    history[every, last] = 0
    return Examples(history, last.astype(np.int32), target, rows.user, rows.ordinal - 1)
