"""Files under the names that DLLM2Rec publishes arrive, and leave again, as they were meant."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.examples import PreparedData
from bench.errors import ArtifactError, DataError
from bench.teachers.exchange.exporting import export_dllm2rec
from bench.teachers.knowledge import load_knowledge
from bench.teachers.manifest import read_manifest

from ..conftest import N_ITEMS, N_ROWS, Folder, K
from .conftest import PUBLISHED, Desk, expected_lists


@settings(max_examples=25)
@given(draw=st.data(), half=st.booleans(), size=st.integers(1, N_ITEMS))
def test_import_and_export_of_the_published_layout_is_the_identity(
    draw: st.DataObject, half: bool, size: int, toy: PreparedData
) -> None:
    random = np.random.default_rng(draw.draw(st.integers(0, 2**32)))
    ids = random.random((N_ROWS, N_ITEMS)).argsort(axis=1)[:, :size]
    ids[0, 0], ids[0, 1:] = 0, random.permutation(np.arange(1, N_ITEMS))[: size - 1]
    scale = 10.0 ** draw.draw(st.integers(-6, 6))
    distances = np.sort(random.random((N_ROWS, size)) * scale, axis=1).astype(np.float32)
    table = torch.randn(N_ITEMS, 3).to(torch.float16 if half else torch.float32)
    with tempfile.TemporaryDirectory() as place:
        desk = Desk(Path(place), toy)
        torch.save(table, desk.foreign / PUBLISHED[0])
        np.savetxt(desk.foreign / PUBLISHED[1], ids, fmt="%d")
        np.savetxt(desk.foreign / PUBLISHED[2], distances, fmt="%.9g")
        desk.bring()
        back = Path(place) / "back"
        export_dllm2rec(desk.folder, toy, back)
        for name in PUBLISHED[1:]:
            assert (back / name).read_bytes() == (desk.foreign / name).read_bytes()
        again = torch.load(back / PUBLISHED[0], weights_only=True)
        assert again.dtype == table.dtype and torch.equal(again, table)
        told = np.loadtxt(back / PUBLISHED[2], ndmin=2).astype(np.float32)
        np.testing.assert_array_equal(told, distances)
        assert load_knowledge(back, toy).rankings.equal(desk.knowledge().rankings)

        first = read_manifest(desk.folder).fingerprint
        desk.bring(back, force=True)
        assert read_manifest(desk.folder).fingerprint == first


def test_published_files_as_numpy_writes_them(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    report = desk.bring(folder.published())
    knowledge = desk.knowledge()
    np.testing.assert_array_equal(knowledge.rankings, folder.ids)
    np.testing.assert_array_equal(knowledge.distances, folder.distances)
    np.testing.assert_array_equal(knowledge.embeddings[1:], folder.embeddings)
    assert any("count from 0, since 0 occurs" in line for line in report)
    assert any("240 of 240 training rows covered" in line for line in report)
    manifest = read_manifest(desk.folder)
    assert manifest.catalogue_fingerprint == "catalogue-a"
    assert manifest.split_fingerprint == "split-a"
    assert manifest.recipe["sources"]["rankings"]["name"] == "myrank_train.txt"
    assert len(manifest.recipe["sources"]["embeddings"]["sha256"]) == 64
    assert manifest.recipe["report"] == report
    assert any("order of the training rows" in note for note in manifest.notes)
    assert not list(desk.foreign.glob(".*"))  # nothing is left beside the sources


def test_ids_from_one_are_found_and_exported_from_zero(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    report = desk.bring(folder.published(base=1))
    np.testing.assert_array_equal(desk.knowledge().rankings, folder.ids)
    assert any("count from 1, since 30 occurs" in line for line in report)
    for base in (0, 1):
        out = desk.home / f"out{base}"
        export_dllm2rec(desk.folder, desk.data, out, base)
        np.testing.assert_array_equal(np.loadtxt(out / PUBLISHED[1]), folder.ids - 1 + base)
        assert load_knowledge(out, desk.data).rankings.equal(desk.knowledge().rankings)


def test_rows_that_lists_do_not_cover(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    folder.ids[3] = 999
    folder.published()
    covered = np.arange(N_ROWS) != 3
    np.save(desk.foreign / "covered.npy", covered)
    report = desk.bring()
    knowledge = desk.knowledge()
    np.testing.assert_array_equal(knowledge.covered, covered)
    np.testing.assert_array_equal(knowledge.rankings[covered], folder.ids[covered])
    assert "239 of 240 training rows covered (99.6%)" in report


@pytest.mark.parametrize("name", ["truth_distance.txt", "truth_distance.npy"])
def test_the_distances_of_targets(name: str, desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    folder.published()
    if name.endswith(".txt"):
        np.savetxt(desk.foreign / name, folder.truth)
    else:
        np.save(desk.foreign / name, folder.truth)
    desk.bring()
    np.testing.assert_array_equal(desk.knowledge().truth_distance, folder.truth)
    assert "truth-distance" in read_manifest(desk.folder).signals


def test_text_cannot_say_what_is_covered(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    folder.published()
    np.savetxt(desk.foreign / "covered.txt", np.ones(N_ROWS), fmt="%d")
    assert "covered.txt holds float64, bool expected" in desk.refused(kind=ArtifactError)


def test_a_declared_base_is_believed_unless_the_ids_deny_it(desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    folder.published()
    signals = ["embeddings", "rankings", "confidence"]
    folder.declare(signals=signals, id_base=1)
    assert "do not count from 1 but from 0" in desk.refused()
    folder.declare(signals=signals, id_base=0)
    assert "--id-base 1, but teacher.json declares 0" in desk.refused(id_base=1)
    desk.bring()
    assert desk.knowledge().rankings.tolist() == folder.ids.tolist()


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"dataset": "other"}, "made for the dataset other"),
        ({"catalogue_fingerprint": "b"}, "another catalogue"),
        ({"split_fingerprint": "b"}, "another split"),
    ],
)
def test_files_that_were_made_for_other_data(
    declared: dict[str, str], message: str, desk: Desk, folder: Folder
) -> None:
    folder.path = desk.foreign
    folder.published()
    folder.declare(signals=["embeddings", "rankings", "confidence"], id_base=0, **declared)
    assert message in desk.refused(kind=ArtifactError)


def test_catalogue_order_under_the_published_names(desk: Desk) -> None:
    """What DLLM2Rec's README tells users to take from BIGRec's script, and how it is meant."""
    dist = np.random.default_rng(9).random((N_ROWS, N_ITEMS)).astype(np.float32)
    rank, values = desk.foreign / "myrank_train.txt", desk.foreign / "confidence_train.txt"
    np.savetxt(rank, dist.argsort(1).argsort(1), fmt="%d")
    np.savetxt(values, dist, fmt="%.9g")
    message = desk.refused()
    assert "argsort of an argsort" in message and "rank=PATH and dist=PATH" in message
    desk.bring(f"rank={rank}", f"dist={values}")
    assert desk.knowledge().rankings.tolist() == expected_lists(dist, desk.data, N_ITEMS)

    np.savetxt(values, dist[::-1], fmt="%.9g")
    with pytest.raises(DataError, match="not of one evaluation"):
        desk.bring(f"rank={rank}", f"dist={values}", force=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.ids.__setitem__((5, 2), 4000), "count neither from 0 nor from 1"),
        (lambda f: f.ids.__setitem__((7, 4), f.ids[7, 0]), "name an item twice (first: row 7)"),
        (lambda f: setattr(f, "distances", f.distances[:, ::-1]), "as scores do"),
        (lambda f: setattr(f, "distances", f.distances - 9), "negative values"),
        (lambda f: setattr(f, "distances", f.distances[:, 1:]), "has shape (240, 4)"),
        (lambda f: f.embeddings.__setitem__(4, np.nan), "NaN or infinite (first in row 4)"),
        (lambda f: setattr(f, "embeddings", f.embeddings[1:]), "29 rows, the catalogue 30 items"),
        (lambda f: setattr(f, "ids", f.ids[:-1]), "239 rows, the training split of toy"),
        (
            lambda f: setattr(f, "ids", np.resize(f.ids, (N_ROWS + 120, K))),
            "as many as train and valid and test have together",
        ),
    ],
)
def test_broken_files_leave_nothing(spoil: Any, message: str, desk: Desk, folder: Folder) -> None:
    folder.path = desk.foreign
    spoil(folder)
    folder.published()
    assert message in desk.refused()
