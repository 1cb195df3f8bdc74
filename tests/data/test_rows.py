"""Windows, protocols, identity: vectorised code against loops that spell the definitions out."""

from __future__ import annotations

import itertools
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.config import Filters, ProtocolConfig
from bench.data.examples import Examples
from bench.data.fingerprints import split_fingerprint
from bench.data.prepare import filters
from bench.data.prepare.interactions import HISTORY, SPLITS, Interactions, _sorted_by, canonical
from bench.data.prepare.protocols import targets_of
from bench.data.prepare.windows import examples_at, ordinals
from bench.errors import DataError

events = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "B", "é", "10", "9", "𝄞"]),
        st.sampled_from([f"i{n}" for n in range(12)]),
        st.integers(0, 6),
    ),
    min_size=1,
    max_size=60,
)


def build(table: list[tuple[str, str, int]], **columns: object) -> Interactions:
    users, items, times = zip(*table, strict=True)
    return canonical(
        list(users), list(items), item_texts={}, time=np.array(times, dtype=np.int64), **columns
    )


def rows_of(data: Interactions, protocol: ProtocolConfig) -> list[Examples]:
    ordinal, _ = ordinals(data.user)
    targets = targets_of(data, protocol)
    return [examples_at(t, data.user, data.item, ordinal, protocol.history) for t in targets]


def drawn(user: int, item: int, n_items: int) -> int:
    """SplitMix64 of a pair, in whole numbers without end."""
    z = (user * n_items + item + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def sequences(table: list[tuple[str, str, int]]) -> dict[str, list[tuple[int, str]]]:
    """Per user token the ordered (time, item), repetitions dropped, by plain Python."""
    users, items = (sorted({row[column] for row in table}) for column in (0, 1))

    def place(user: str, time: int, item: str) -> tuple[int, int]:
        return time, drawn(users.index(user), items.index(item), len(items))

    return {
        user: sorted(
            {(t, i) for v, i, t in table if v == user}, key=lambda event: place(user, *event)
        )
        for user in users
    }


def spelled_out(data: Interactions, rows: Examples) -> list[tuple[str, int, list[str], str]]:
    """Rows as (user, ordinal, history, target) in tokens, padding checked on the way."""
    found = []
    for user, ordinal, history, length, target in zip(
        rows.user, rows.ordinal, rows.history, rows.length, rows.target, strict=True
    ):
        assert (history[:length] > 0).all() and (history[length:] == 0).all()
        items = [data.item_tokens[i - 1] for i in history[:length]]
        found.append((data.user_tokens[user], ordinal, items, data.item_tokens[target - 1]))
    return found


def expected_row(seq: list[tuple[int, str]], user: str, at: int, history: int) -> tuple:
    return user, at, [item for _, item in seq[max(0, at - history) : at]], seq[at][1]


@settings(max_examples=150)
@given(events, st.integers(1, 5), st.integers(1, 12))
def test_temporal_is_the_global_chronological_split(table, history, first_target):
    data = build(table)
    expected = []
    for user, seq in sequences(table).items():
        if len(seq) >= 2:
            for at in range(min(first_target, len(seq) - 1), len(seq)):
                row = expected_row(seq, user, at, history)
                expected.append(((seq[at][0], user, at), row))
    expected = [row for _, row in sorted(expected, key=lambda pair: pair[0])]
    count = len(expected)
    cuts = (0, int(count * 8 // 10), int(count * 9 // 10), count)
    protocol = ProtocolConfig(name="temporal", history=history, first_target=first_target)
    if any(low == high for low, high in pairwise(cuts)):
        with pytest.raises(DataError, match="leaves no"):
            rows_of(data, protocol)
        return
    tables = rows_of(data, protocol)
    for rows, low, high in zip(tables, cuts[:-1], cuts[1:], strict=True):
        assert spelled_out(data, rows) == expected[low:high]


@settings(max_examples=150)
@given(events, st.integers(1, 5))
def test_leave_one_out_takes_the_last_two_of_each_user(table, history):
    data = build(table)
    expected: dict[str, list] = {split: [] for split in SPLITS}
    for user, seq in sorted(sequences(table).items()):
        n = len(seq)
        for at in range(1, n):
            split = "train" if n == 2 or at < n - 2 else ("valid" if at == n - 2 else "test")
            expected[split].append(expected_row(seq, user, at, history))
    protocol = ProtocolConfig(name="leave-one-out", history=history)
    if not all(expected.values()):
        with pytest.raises(DataError, match="leaves no"):
            rows_of(data, protocol)
        return
    for split, rows in zip(SPLITS, rows_of(data, protocol), strict=True):
        assert spelled_out(data, rows) == expected[split]


@settings(max_examples=60)
@given(events, st.randoms(use_true_random=False))
def test_the_order_of_the_table_changes_nothing(table, random):
    shuffled = random.sample(table, len(table))
    one, other = build(table), build(shuffled)
    assert one.user_tokens == sorted(one.user_tokens)
    assert one.item_tokens == sorted(one.item_tokens)
    assert one.fingerprint == other.fingerprint


def test_what_time_leaves_open_has_an_order_that_no_item_can_be_told_by() -> None:
    """An order of items that all users share would be learned: it says which may come next."""
    users, items = 200, 50
    table = [(f"u{u}", f"i{i:02}", 0) for u in range(users) for i in range(items)]
    order = build(table).item.reshape(users, items)
    # Before which share of users an item comes before another: of a coin, for each pair of items.
    place = np.argsort(order, axis=1)
    first = (place[:, :, None] < place[:, None, :]).mean(axis=0)[np.triu_indices(items, 1)]
    assert first.mean() == pytest.approx(0.5, abs=0.01)
    assert np.abs(first - 0.5).max() < 5 * 0.5 / users**0.5
    assert len(np.unique(order, axis=0)) == users


@settings(max_examples=60)
@given(events)
def test_no_row_shows_anything_later_than_its_target(table):
    data = build(table)
    ordinal, size = ordinals(data.user)
    targets = np.flatnonzero(ordinal > 0)
    rows = examples_at(targets, data.user, data.item, ordinal, 4)
    assert data.time is not None
    for target, length in zip(targets, rows.length, strict=True):
        window = slice(target - length, target)
        assert (data.user[window] == data.user[target]).all()
        assert (data.time[window] <= data.time[target]).all()
    assert (size[targets] > ordinal[targets]).all()


def test_temporal_never_trains_on_what_is_later_than_a_test_target():
    table = [(f"u{u}", f"i{(u * 7 + t) % 30}", 100 * t + u) for u in range(20) for t in range(12)]
    data = build(table)
    assert data.time is not None
    train, valid, test = targets_of(data, ProtocolConfig(name="temporal", first_target=1))
    assert data.time[train].max() <= data.time[valid].min()
    assert data.time[valid].max() <= data.time[test].min()


def labelled(labels: list[int]) -> Interactions:
    table = [("u", f"i{n}", n) for n in range(len(labels))]
    return build(table, split=np.array(labels, dtype=np.int8))


def test_split_labels_are_the_temporal_split():
    data = labelled([0, HISTORY, 0, 1, 1, 2])
    tables = rows_of(data, ProtocolConfig(name="temporal"))
    assert [rows.ordinal.tolist() for rows in tables] == [[2], [3, 4], [5]], "0 has no history"
    assert tables[0].length.tolist() == [2]


def test_split_labels_that_leak_are_refused():
    with pytest.raises(DataError, match="backwards in time for 1 users"):
        labelled([HISTORY, 2, 1, 0])


def test_contradicting_repetitions_are_refused():
    with pytest.raises(DataError, match="different split labels"):
        build([("u", "i", 1), ("u", "i", 1)], split=np.array([0, 2], dtype=np.int8))


def test_repetitions_are_dropped_and_reported():
    data = build([("u", "i", 1), ("u", "i", 1), ("u", "i", 2)])
    assert len(data) == 2
    assert data.report == [
        "dropped 1 interactions that repeat another one exactly",
    ]


def test_position_alone_cannot_be_split_by_time():
    data = canonical(["u"] * 5, list("abcde"), item_texts={}, position=np.arange(5))
    with pytest.raises(DataError, match="needs a time column or split labels"):
        targets_of(data, ProtocolConfig(name="temporal"))
    assert [len(t) for t in targets_of(data, ProtocolConfig(name="leave-one-out"))] == [2, 1, 1]


def test_targets_and_keys_are_in_the_split_fingerprint():
    data = build([("u", f"i{n}", n) for n in range(8)])
    tables = rows_of(data, ProtocolConfig(name="temporal", first_target=1))
    one = split_fingerprint(data.user_tokens, data.item_tokens, tables)
    assert one == split_fingerprint(["u"], data.item_tokens, tables)
    assert one != split_fingerprint(["v"], data.item_tokens, tables)
    assert one != split_fingerprint(["u"], data.item_tokens, tables[::-1])
    tables[0].target[0] += 1
    assert one != split_fingerprint(["u"], data.item_tokens, tables)


@settings(max_examples=60)
@given(events, st.integers(0, 3), st.integers(0, 3))
def test_the_core_filter_leaves_the_core(table, user_core, item_core):
    kept = {(u, t, i) for u, i, t in table}
    while True:
        users, items = [u for u, _, _ in kept], [i for _, _, i in kept]
        smaller = {
            (u, t, i)
            for u, t, i in kept
            if users.count(u) >= user_core and items.count(i) >= item_core
        }
        if smaller == kept:
            break
        kept = smaller
    chosen = Filters(user_core=user_core, item_core=item_core)
    if not kept:
        with pytest.raises(DataError, match="leave no interactions"):
            filters.apply(build(table), chosen)
        return
    data = filters.apply(build(table), chosen)
    assert data.time is not None
    found = {
        (data.user_tokens[u], int(t), data.item_tokens[i])
        for u, t, i in zip(data.user, data.time, data.item, strict=True)
    }
    assert found == kept
    assert data.user_tokens == sorted({u for u, _, _ in kept})
    assert data.item_tokens == sorted({i for _, _, i in kept})


def test_the_rating_filter_needs_ratings():
    with pytest.raises(DataError, match="no ratings"):
        filters.apply(build([("u", "i", 1)]), Filters(min_rating=4))


@pytest.mark.parametrize("span", [3, 1 << 40, 1 << 62])
def test_the_order_is_that_of_a_sort_by_all_keys(span):
    random = np.random.default_rng(span)
    for rows in (1, 2, 500):
        keys = [
            random.integers(0, 3, rows).astype(np.float32),
            random.integers(0, 2**63, rows, dtype=np.uint64) * np.uint64(2),
            random.integers(0, 2, rows),
            random.integers(-span, span, rows),
            random.integers(0, 20, rows).astype(np.int32),
        ]
        keys[1][rows // 2 :] = keys[1][: rows - rows // 2]
        expected = np.lexsort(keys)
        rest = keys[1:3]
        found, same = _sorted_by(
            keys[4], keys[3], lambda at, rest=rest: [key[at] for key in rest], keys[:1]
        )
        assert sorted(found) == list(range(rows))
        ordered = [tuple(key[row] for key in keys[1:]) for row in found]
        assert same.tolist() == [False, *(a == b for a, b in itertools.pairwise(ordered))]
        for key in keys:
            np.testing.assert_array_equal(key[found], key[expected])
