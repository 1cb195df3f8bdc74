"""Segments, popularity and stored users on small tables whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import examples
from bench.data.examples import Examples, PreparedData
from bench.data.prepare.windows import examples_at, ordinals
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.segments import (
    INTERACTION_SEGMENTS,
    TARGET_SEGMENTS,
    segment_masks,
    segment_metrics,
)


def rows(targets, lengths=None, users=None) -> Examples:
    n = len(targets)
    lengths = lengths or [1] * n
    history = np.zeros((n, max(lengths, default=1)), dtype=np.int32)
    for row, length in enumerate(lengths):
        history[row, :length] = 1
    return Examples(
        history=history,
        length=np.array(lengths, dtype=np.int32),
        target=np.array(targets, dtype=np.int32),
        user=np.array(users or range(n), dtype=np.int32),
        ordinal=np.ones(n, dtype=np.int32),
    )


def data(train, test, n_items, **test_columns) -> PreparedData:
    return PreparedData(
        dataset="toy",
        protocol="temporal-10",
        item_tokens=[f"i{i}" for i in range(n_items)],
        item_texts=[""] * n_items,
        user_tokens=["u"],
        train=rows(train),
        valid=rows(test),
        test=rows(test, **test_columns),
        catalogue_fingerprint="c",
        split_fingerprint="s",
        fingerprint="f",
    )


def test_target_segments_follow_training_targets():
    toy = data([1] * 5 + [2] * 4 + [3], test=[1, 2, 3, 4, 4], n_items=10)
    masks = segment_masks(toy)
    assert masks["warm"].tolist() == [True, False, False, False, False]
    assert masks["rare"].tolist() == [False, True, True, False, False]
    assert masks["cold"].tolist() == [False, False, False, True, True]
    assert masks["head"].tolist() == [True, True, False, False, False]  # 2 of 10 items
    assert (masks["head"] ^ masks["tail"]).all()


@given(
    st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=9), min_size=1, max_size=5),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(0, 2**31),
)
def test_interactions_in_training_are_those_that_any_row_shows(users, history, block, seed):
    """Against a set of (user, place), with some of the rows alone, in any order and block."""
    user = np.repeat(np.arange(len(users)), [len(items) for items in users]).astype(np.int32)
    item = np.concatenate(users).astype(np.int32) - 1
    ordinal, _ = ordinals(user)
    random = np.random.default_rng(seed)
    places = random.permutation(np.flatnonzero(ordinal))
    chosen = places[: random.integers(1, len(places) + 1)]
    toy = data([1], test=[1], n_items=6)
    toy = replace(toy, train=examples_at(chosen, user, item, ordinal, history))
    shown = {
        (user[place], o)
        for place in chosen
        for o in range(max(0, ordinal[place] - history), ordinal[place] + 1)
    }
    expected = np.zeros(7, dtype=np.int64)
    for who, place in shown:
        expected[users[who][place]] += 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examples, "BLOCK", block)
        assert toy.interaction_counts().tolist() == expected.tolist()


def test_an_item_of_a_training_history_is_not_cold():
    toy = data([2] * 49 + [3] * 5, test=[1, 2, 3, 4], n_items=10)  # every history is [1]
    masks = segment_masks(toy)
    names = {n: m.tolist() for n, m in masks.items() if n in (*INTERACTION_SEGMENTS, "cold")}
    assert names == {
        "cold": [False, False, False, True],
        "interactions 0": [False, False, False, True],
        "interactions 1-4": [False] * 4,
        "interactions 5-9": [False, False, True, False],
        "interactions 10-49": [False, True, False, False],
        "interactions 50+": [True, False, False, False],
    }


def test_popularity_groups_share_the_training_targets():
    train = [1] * 10 + [2] * 5 + [3] * 2 + [4] * 2 + [5]  # 20 of them
    toy = data(train, test=[1, 2, 3, 4, 5, 6], n_items=6)
    masks = segment_masks(toy)
    members = {name: np.flatnonzero(mask) + 1 for name, mask in masks.items() if "popul" in name}
    assert {name: found.tolist() for name, found in members.items()} == {
        "popularity 0-20 %": [1],  # nothing above
        "popularity 20-40 %": [],
        "popularity 40-60 %": [2],  # 10 of 20 above
        "popularity 60-80 %": [3, 4],  # 15 of 20 above both of them
        "popularity 80-100 %": [5],  # 19 of 20 above; 6 is cold
    }


def test_each_segment_has_the_metrics_of_its_rows():
    toy = data([1] * 5 + [2], test=[1, 2, 3, 1], n_items=10, lengths=[1, 2, 7, 30])
    ranks = np.array([1, 3, 10, 4])
    got = segment_metrics(ranks, toy)
    assert got["warm"] == {"rows": 2, **metrics_from_ranks([1, 4])}
    assert got["history 1-2"] == {"rows": 2, **metrics_from_ranks([1, 3])}
    assert got["history 6-10"] == {"rows": 1, **metrics_from_ranks([10])}
    assert got["history 21+"]["rows"] == 1
    assert got["history 3-5"] == {"rows": 0}


def test_ranks_of_other_rows_are_refused():
    with pytest.raises(ValueError, match="2 ranks for 3 test rows"):
        segment_metrics([1, 2], data([1], test=[1, 1, 1], n_items=2))


@settings(max_examples=50)
@given(st.data())
def test_segments_partition_the_rows(draw):
    n_items = draw.draw(st.integers(1, 12))
    item = st.integers(1, n_items)
    train = draw.draw(st.lists(item, min_size=1, max_size=40))
    test = draw.draw(st.lists(item, min_size=1, max_size=12))
    lengths = draw.draw(st.lists(st.integers(1, 40), min_size=len(test), max_size=len(test)))
    toy = data(train, test, n_items, lengths=lengths)
    masks = segment_masks(toy)
    histories = [n for n in masks if "history" in n]
    for family in (TARGET_SEGMENTS, INTERACTION_SEGMENTS, ("head", "tail"), histories):
        assert (np.sum([masks[name] for name in family], axis=0) == 1).all()
    popularity = np.sum([mask for name, mask in masks.items() if "popularity" in name], axis=0)
    assert (popularity == np.isin(test, train)).all()
