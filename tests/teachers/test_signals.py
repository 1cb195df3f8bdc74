"""The table of signals: what it says of each holds for writing, reading, devices and imports."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.examples import PreparedData
from bench.distillation import Knowledge
from bench.signals import ARRAYS, COVERED, SIGNALS, Signal, Signals
from bench.teachers.builder import Product
from bench.teachers.exchange.sources import ROLES
from bench.teachers.knowledge import load_knowledge
from bench.teachers.manifest import read_manifest
from bench.teachers.writing import write

from .conftest import N_ITEMS, N_ROWS

SIZES = {"R": N_ROWS, "N": N_ITEMS, "K": 4, "D": 3, "M": 2, "C": 3}
MEMBERS = ["a", "b"]


def array(signal: Signal, random: np.random.Generator) -> np.ndarray:
    """Any array that keeps the rules of a signal."""
    shape = [SIZES[symbol] for symbol in signal.shape.split()]
    if signal is COVERED:
        return np.arange(N_ROWS) > 0
    if signal.holds_ids:
        order = random.random((*shape[:-1], N_ITEMS)).argsort(axis=-1)
        return order[..., : shape[-1]].astype(np.int32) + np.int32(1)
    values = random.random(shape).astype(np.float32)
    return np.sort(values, axis=-1) if signal.ascending else values


def with_what_they_belong_to(names: set[str]) -> set[str]:
    return names | {str(SIGNALS[name].lists) for name in names if SIGNALS[name].lists}


@settings(max_examples=25)
@given(names=st.sets(st.sampled_from(sorted(SIGNALS)), min_size=1), seed=st.integers(0, 99))
def test_any_set_of_signals_is_read_as_it_was_written(
    names: set[str],
    seed: int,
    toy: PreparedData,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder, random = tmp_path_factory.mktemp("teacher"), np.random.default_rng(seed)
    wanted = [*(SIGNALS[name] for name in sorted(with_what_they_belong_to(names))), COVERED]
    arrays = {signal: array(signal, random) for signal in wanted}
    product = Product(
        metrics={},
        test_ranks=None,
        recipe={},
        members=MEMBERS,
        **{signal.attribute: value for signal, value in arrays.items()},
    )
    write(folder, "any", "external", toy, product)
    assert set(read_manifest(folder).files) == {signal.file for signal in wanted}
    knowledge = load_knowledge(folder, toy)
    assert set(knowledge.arrays()) == set(wanted)
    for signal, tensor in knowledge.arrays().items():
        assert tensor.dtype == getattr(torch, signal.dtype)
        if signal.index == "items":
            assert not tensor[0].any()
            tensor = tensor[1:]
        if signal.index == "examples" and not signal.mapped:
            tensor, arrays[signal] = tensor[1:], arrays[signal][1:]  # the first is not covered
        np.testing.assert_array_equal(tensor.numpy(), arrays[signal])


def test_every_array_has_a_name_an_attribute_and_a_file_of_its_own() -> None:
    for what in ("name", "attribute", "file"):
        assert len({getattr(signal, what) for signal in ARRAYS}) == len(ARRAYS)
    assert [signal.attribute for signal in ARRAYS] == [one.name for one in fields(Signals)]
    assert {one.name for one in fields(Signals)} <= {one.name for one in fields(Knowledge)}


def test_what_an_array_belongs_to_is_a_signal() -> None:
    for signal in ARRAYS:
        assert signal.lists is None or SIGNALS[signal.lists].shape == signal.shape
        assert ("R" in signal.shape.split()) != ("N" in signal.shape.split())


def test_an_import_knows_every_array_that_is_not_mapped_by_its_files() -> None:
    known = {stem for stems in ROLES.values() for stem in stems}
    for signal in ARRAYS:
        assert signal.mapped or Path(signal.file).stem in known
