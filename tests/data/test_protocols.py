"""The parts of protocols: each against a loop that spells its definition out, and their slugs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.data.config import FIRST_TARGET, Filters, ProtocolConfig
from bench.data.prepare import filters
from bench.data.prepare.interactions import HISTORY, Interactions, canonical
from bench.data.prepare.protocols import PROTOCOLS, targets_of
from bench.data.prepare.windows import ordinals
from bench.errors import DataError

event = st.tuples(
    st.sampled_from(["a", "b", "c", "d"]),
    st.sampled_from([f"i{n}" for n in range(6)]),
    st.integers(0, 20),
    st.integers(1, 5),
)
events = st.lists(event, min_size=1, max_size=60, unique_by=lambda event: event[:3])
plenty = st.lists(event, min_size=30, max_size=60, unique_by=lambda event: event[:3])


def build(table: list[tuple[str, str, int, int]], **columns: object) -> Interactions:
    users, items, times, ratings = zip(*table, strict=True)
    return canonical(
        list(users),
        list(items),
        item_texts={},
        time=np.array(times, dtype=np.int64),
        rating=np.array(ratings, dtype=np.float32),
        **columns,
    )


def kept(data: Interactions) -> set[tuple[str, str, int, int]]:
    assert data.time is not None and data.rating is not None
    columns = (data.user, data.item, data.time, data.rating)
    return {
        (data.user_tokens[u], data.item_tokens[i], int(t), int(r))
        for u, i, t, r in zip(*columns, strict=True)
    }


def spelled(data: Interactions, targets) -> list[list[tuple[str, int]]]:
    """(user, ordinal) of each row of each split."""
    ordinal, _ = ordinals(data.user)
    return [[(data.user_tokens[data.user[t]], int(ordinal[t])) for t in part] for part in targets]


def chronological(table, first_target: int) -> list[tuple[int, str, int, str]]:
    """(time, user, ordinal, item) of every target, in row order."""
    found = []
    for user in {u for u, *_ in table}:
        sequence = sorted((t, i) for u, i, t, _ in table if u == user)
        n = len(sequence)
        found += [
            (sequence[at][0], user, at, sequence[at][1])
            for at in range(n)
            if n >= 2 and at >= min(first_target, n - 1)
        ]
    return sorted(found)


@settings(max_examples=150)
@given(events, st.integers(1, 4), st.sampled_from([(0.1, 0.1), (0.2, 0.05), (0.3, 0.3)]))
def test_timepoint_cuts_at_two_times(table, first_target, shares):
    data = build(table)
    valid_share, test_share = shares
    times = sorted(t for _, _, t, _ in table)
    # Shares are multiples of 1/20, so that whole numbers say exactly where to cut.
    cut_valid = len(times) * (20 - round(20 * valid_share) - round(20 * test_share)) // 20
    cut_test = len(times) * (20 - round(20 * test_share)) // 20
    expected: list[list[tuple[str, int]]] = [[], [], []]
    for time, user, at, _ in chronological(table, first_target):
        expected[(time >= times[cut_valid]) + (time >= times[cut_test])].append((user, at))
    protocol = ProtocolConfig(
        name="timepoint",
        first_target=first_target,
        valid_share=valid_share,
        test_share=test_share,
    )
    if not all(expected):
        with pytest.raises(DataError, match="leaves no"):
            targets_of(data, protocol)
        return
    assert spelled(data, targets_of(data, protocol)) == expected


@settings(max_examples=100)
@given(plenty)
def test_no_time_is_on_both_sides_of_a_timepoint(table):
    data = build(table)
    try:
        parts = targets_of(data, ProtocolConfig(name="timepoint"))
    except DataError:
        assume(False)
    assert data.time is not None
    for earlier, later in pairwise(parts):
        assert data.time[earlier].max() < data.time[later].min()


@settings(max_examples=100)
@given(plenty, st.sampled_from([0.05, 0.1, 0.15, 0.3]), st.sampled_from([0.05, 0.1, 0.35]))
def test_shares_of_temporal_are_exact(table, valid_share, test_share):
    rows = chronological(table, 1)
    valid, test = round(100 * valid_share), round(100 * test_share)
    cuts = (0, len(rows) * (100 - valid - test) // 100, len(rows) * (100 - test) // 100, len(rows))
    assume(all(low < high for low, high in pairwise(cuts)))
    protocol = ProtocolConfig(
        name="temporal", first_target=1, valid_share=valid_share, test_share=test_share
    )
    data = build(table)
    assert spelled(data, targets_of(data, protocol)) == [
        [(user, at) for _, user, at, _ in rows[low:high]] for low, high in pairwise(cuts)
    ]


@settings(max_examples=100)
@given(plenty, st.sampled_from(["temporal", "timepoint", "leave-one-out"]))
def test_cold_targets_are_dropped_from_evaluation_alone(table, name):
    data = build(table)
    try:
        everything = targets_of(data, ProtocolConfig(name=name, first_target=1))
    except DataError:
        assume(False)
    trained = set(data.item[everything[0]])
    expected = [[t for t in part if data.item[t] in trained] for part in everything[1:]]
    dropping = ProtocolConfig(name=name, first_target=1, cold_targets="drop")
    if not all(expected):
        with pytest.raises(DataError, match="leaves no"):
            targets_of(data, dropping)
        return
    train, valid, test = targets_of(data, dropping)
    assert (train == everything[0]).all()
    assert [valid.tolist(), test.tolist()] == expected


def test_given_labels_are_the_split_whatever_the_times():
    labels = [HISTORY, 0, 1, 2]
    table = [("u", f"i{n}", 100 - n, 1) for n in range(4)]
    with pytest.raises(DataError, match="backwards"):
        build(table, split=np.array(labels, dtype=np.int8))
    data = build(table[::-1], split=np.array(labels, dtype=np.int8))
    for name in ("given", "temporal"):
        parts = targets_of(data, ProtocolConfig(name=name))
        assert spelled(data, parts) == [[("u", 1)], [("u", 2)], [("u", 3)]]
    with pytest.raises(DataError, match="has no split labels"):
        targets_of(build(table), ProtocolConfig(name="given"))


def test_a_source_without_times_is_told_what_needs_them():
    data = canonical(["u"] * 5, list("abcde"), item_texts={}, position=np.arange(5))
    with pytest.raises(DataError, match="'timepoint' needs a time column; "):
        targets_of(data, ProtocolConfig(name="timepoint"))
    for part in ("since", "until"):
        with pytest.raises(DataError, match=rf"no times for filters\.{part}"):
            filters.apply(data, Filters(**{part: 3}))


@settings(max_examples=100)
@given(events, st.integers(0, 20), st.integers(0, 20), st.integers(1, 5))
def test_period_and_rating_keep_what_they_say(table, since, until, rating):
    expected = {(u, i, t, r) for u, i, t, r in table if since <= t < until and r >= rating}
    chosen = Filters(since=since, until=until, min_rating=rating)
    if not expected:
        with pytest.raises(DataError, match="leave no interactions"):
            filters.apply(build(table), chosen)
        return
    assert kept(filters.apply(build(table), chosen)) == expected


@settings(max_examples=100)
@given(events, st.sampled_from(["first", "last", "keep"]), st.integers(1, 3))
def test_repeats_of_an_item_are_kept_once(table, policy, user_core):
    """Of what the rating leaves, and before users are counted."""
    best = {"first": min, "last": max}
    liked = [event for event in table if event[3] >= 2]
    once = {
        best[policy](event for event in liked if event[:2] == pair) if policy in best else event
        for event in liked
        for pair in [event[:2]]
    }
    users = [user for user, *_ in once]
    expected = {event for event in once if users.count(event[0]) >= user_core}
    chosen = Filters(min_rating=2, repeats=policy, user_core=user_core)
    if not expected:
        with pytest.raises(DataError, match="leave no interactions"):
            filters.apply(build(table), chosen)
        return
    assert kept(filters.apply(build(table), chosen)) == expected


def test_filters_of_a_run_replace_those_of_the_dataset_part_by_part():
    own = Filters(min_rating=4, user_core=5, item_core=5)
    assert Filters().over(own) == own
    assert Filters(user_core=0, repeats="last").over(own) == Filters(
        min_rating=4, user_core=0, item_core=5, repeats="last"
    )


@pytest.mark.parametrize(
    ("settings", "slug"),
    [
        ({"name": "temporal"}, "temporal-10"),
        ({"name": "timepoint"}, "timepoint-10"),
        ({"name": "given", "history": 20}, "given-20"),
        ({"name": "timepoint", "first_target": 10}, "timepoint-10-from10"),
        ({"name": "temporal", "test_share": 0.2}, "temporal-10-valid0.1-test0.2"),
        ({"name": "leave-one-out", "cold_targets": "drop"}, "leave-one-out-10-nocold"),
        (
            {
                "name": "temporal",
                "filters": {
                    "since": 5,
                    "until": 9,
                    "min_rating": 3.5,
                    "repeats": "first",
                    "user_core": 5,
                    "item_core": 0,
                },
            },
            "temporal-10-since5-until9-rating3.5-first-users5-items0",
        ),
    ],
)
def test_only_what_is_no_default_is_in_the_slug(settings, slug):
    assert ProtocolConfig(**settings).slug == slug


def test_every_part_that_can_move_rows_moves_the_slug():
    """Else two protocols would share a folder, and take turns in it."""
    changed = {
        "history": 3,
        "first_target": 3,
        "valid_share": 0.2,
        "test_share": 0.2,
        "cold_targets": "drop",
        "filters": {"min_rating": 3},
    }
    # What users had before is ranked or not; the rows are the same.
    assert {"name", "seen", *changed} == set(ProtocolConfig.model_fields)
    plain = ProtocolConfig(name="temporal").slug
    slugs = {ProtocolConfig(name="temporal", **{key: changed[key]}).slug for key in changed}
    assert len(slugs | {plain}) == len(changed) + 1
    parts = {
        "since": 1,
        "until": 1,
        "min_rating": 1,
        "repeats": "keep",
        "user_core": 1,
        "item_core": 1,
    }
    assert set(parts) == set(Filters.model_fields)
    assert len({Filters(**{key: parts[key]}).slug for key in parts} | {""}) == len(parts) + 1


def test_every_protocol_is_written_and_has_its_default():
    assert set(PROTOCOLS) == set(FIRST_TARGET)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "given", "test_share": 0.2}, "do not concern given"),
        ({"name": "temporal", "valid_share": 0.5, "test_share": 0.5}, "nothing for train"),
        ({"name": "temporal", "test_share": 0}, "greater than 0"),
        ({"name": "temporal", "cold_targets": "maybe"}, "'keep' or 'drop'"),
        ({"name": "temporal", "filters": {"repeats": "once"}}, "'keep', 'first' or 'last'"),
    ],
)
def test_protocols_without_a_meaning_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ProtocolConfig(**settings)
