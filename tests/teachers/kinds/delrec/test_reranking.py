"""Lists in another order against loops over rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.teachers.kinds.delrec.reranking import candidate_scores, reranked, target_ranks_of
from bench.teachers.kinds.delrec.soft_prompts import EncoderDecoder, PromptedModel

from ....listening import listening
from . import colours


@given(st.integers(1, 12), st.integers(0, 999))
def test_ranks_of_a_list_whose_head_is_reordered(size: int, seed: int) -> None:
    """The full order is the candidates by score, then the items that follow in the order before."""
    random = np.random.default_rng(seed)
    n_items, rows = 15, 8
    order = random.random((rows, n_items)).argsort(axis=1).astype(np.int32) + 1
    target = random.integers(1, n_items + 1, rows).astype(np.int32)
    before = (order == target[:, None]).argmax(axis=1).astype(np.int32) + 1
    candidates = order[:, :size]
    scores = -random.integers(0, 4, (rows, size)).astype(np.float32)  # with ties
    found = target_ranks_of(candidates, scores, before, target)
    for row in range(rows):
        head = dict(zip(candidates[row].tolist(), scores[row].tolist(), strict=True))
        if target[row] in head:
            expected = sum(score >= head[target[row]] for score in head.values())
        else:
            expected = order[row].tolist().index(target[row]) + 1
        assert found[row] == expected
    ids, distances = reranked(candidates, scores, min(5, size))
    for row in range(rows):
        places = sorted(range(size), key=lambda place, row=row: (-scores[row, place], place))
        assert ids[row].tolist() == [int(candidates[row, place]) for place in places[:5]]
        assert distances[row].tolist() == [-float(scores[row, place]) for place in places[:5]]
    assert (np.diff(distances, axis=1) >= 0).all() and (distances >= 0).all()


@pytest.fixture
def prompted(colours_folder: Path) -> PromptedModel:
    return EncoderDecoder(*colours.read(colours_folder), vectors=2, seed=0)


def scored(prompted: PromptedModel, candidates: np.ndarray, folder: Path, at_once: int):  # type: ignore[no-untyped-def]
    folder.mkdir(exist_ok=True)
    asking, rows = colours.asking(prompted.titles), colours.make_rows(len(candidates), 0)
    lines: list[str] = []
    with listening(lines.append):
        found = candidate_scores(prompted, asking, rows, candidates, at_once, folder, 5, "rows")
    return found, asking, rows, lines


def test_every_candidate_has_the_score_of_its_own_question(
    prompted: PromptedModel, tmp_path: Path
) -> None:
    candidates = np.random.default_rng(0).random((7, colours.N_ITEMS)).argsort(axis=1)[:, :14] + 1
    candidates = candidates.astype(np.int32)
    found, asking, rows, lines = scored(prompted, candidates, tmp_path / "a", 3)
    assert found.shape == (7, 14) and found.dtype == np.float32
    assert lines[-1].startswith("rows: 7 of 7 rows, ")
    for row in range(7):
        random = np.random.default_rng([5, rows.user[row], rows.ordinal[row]])
        for group in ([0, 3, 6, 9, 12], [1, 4, 7, 10, 13], [2, 5, 8, 11]):  # of 6 at most
            shown = random.permutation(np.array(group))
            with torch.no_grad():
                alone = prompted.scores([asking.among(rows, row, candidates[row, shown])])[0]
            np.testing.assert_allclose(found[row, shown], alone, rtol=1e-4)
    again, *_ = scored(prompted, candidates, tmp_path / "b", 7)
    np.testing.assert_allclose(found, again, rtol=1e-4)


def test_scores_that_are_no_numbers(prompted: PromptedModel, tmp_path: Path) -> None:
    with torch.no_grad():
        prompted.soft[0, 0] = torch.nan
    candidates = np.tile(np.arange(1, 5, dtype=np.int32), (3, 1))
    with pytest.raises(BenchError, match="NaN or infinite"):
        scored(prompted, candidates, tmp_path / "a", 2)
