"""What is read is what was written; what breaks the contract is refused, all of it at once."""

from __future__ import annotations

import hashlib
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.examples import PreparedData
from bench.errors import ArtifactError
from bench.paths import Workspace
from bench.teachers import reading
from bench.teachers.contract import check
from bench.teachers.knowledge import load_knowledge, load_test_ranks
from bench.teachers.manifest import read_manifest
from bench.teachers.reading import _parse
from bench.teachers.summary import summarise

from .conftest import N_ITEMS, N_ROWS, WIDTH, Folder, K


def test_published_layout_reads_as_it_was_written(folder: Folder, data: PreparedData) -> None:
    knowledge = load_knowledge(folder.published(), data)
    assert knowledge.rankings is not None and knowledge.rankings.dtype == torch.int64
    np.testing.assert_array_equal(knowledge.rankings.numpy(), folder.ids)
    np.testing.assert_array_equal(knowledge.distances.numpy(), folder.distances)
    assert knowledge.embeddings.shape == (N_ITEMS + 1, WIDTH)
    np.testing.assert_array_equal(knowledge.embeddings[1:].numpy(), folder.embeddings)
    assert not knowledge.embeddings[0].any()
    assert knowledge.covered is None and knowledge.truth_distance is None
    counts = knowledge.target_counts
    assert counts.dtype == torch.float32 and counts.shape == (N_ITEMS + 1,)
    assert counts[0] == 0 and counts.sum() == N_ROWS


def test_own_layout_reads_as_it_was_written(folder: Folder, data: PreparedData) -> None:
    knowledge = load_knowledge(folder.binary(), data)
    np.testing.assert_array_equal(knowledge.rankings.numpy(), folder.ids)
    np.testing.assert_array_equal(knowledge.truth_distance.numpy(), folder.truth)
    np.testing.assert_array_equal(knowledge.embeddings[1:].numpy(), folder.embeddings)


def test_published_files_take_the_base_that_a_manifest_declares(
    folder: Folder, data: PreparedData
) -> None:
    path = folder.published(base=1)
    folder.declare(signals=["embeddings", "rankings", "confidence"], id_base=1)
    np.testing.assert_array_equal(load_knowledge(path, data).rankings.numpy(), folder.ids)


def test_half_precision_embeddings_are_cast(folder: Folder, data: PreparedData) -> None:
    table = load_knowledge(folder.published(torch.float16), data).embeddings
    assert table.dtype == torch.float32
    np.testing.assert_array_equal(
        table[1:].numpy(), folder.embeddings.astype(np.float16).astype(np.float32)
    )


def test_text_is_parsed_once_and_again_when_it_changes(
    folder: Folder, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, parsed = folder.published(), []

    def parse(text: Path) -> np.ndarray:
        parsed.append(text.name)
        return _parse(text)

    monkeypatch.setattr(reading, "_parse", parse)
    for _ in range(2):
        assert load_knowledge(path, data).rankings.numpy().tolist() == folder.ids.tolist()
    assert sorted(parsed) == ["confidence_train.txt", "myrank_train.txt"]

    folder.ids = np.roll(folder.ids, 1, axis=0)
    changed = load_knowledge(folder.published(), data).rankings.numpy()
    np.testing.assert_array_equal(changed, folder.ids)
    assert sorted(parsed) == ["confidence_train.txt", *["myrank_train.txt"] * 2]


def test_a_table_beside_a_text_is_not_read(folder: Folder, data: PreparedData) -> None:
    """It would replace the text under the same fingerprint."""
    path = folder.published()
    text = path / "myrank_train.txt"
    before = sorted(path.iterdir())
    load_knowledge(path, data)
    assert sorted(path.iterdir()) == before, "nothing is written into the folder"
    digest = hashlib.sha256(text.read_bytes()).hexdigest()
    for name in (f".{text.name}.{digest[:16]}.npy", f"{digest}.npy"):
        np.save(path / name, np.tile(np.arange(folder.ids.shape[1]), (N_ROWS, 1)))
    assert load_knowledge(path, data).rankings.numpy().tolist() == folder.ids.tolist()


def test_a_kept_table_that_has_changed_is_not_believed(folder: Folder, data: PreparedData) -> None:
    path = folder.published()
    load_knowledge(path, data)
    for kept in (Workspace.current().cache / "tables").iterdir():
        np.save(kept, np.load(kept)[::-1])
    assert load_knowledge(path, data).rankings.numpy().tolist() == folder.ids.tolist()


def test_rows_without_a_word_are_filler(folder: Folder, data: PreparedData) -> None:
    covered = np.ones(N_ROWS, dtype=bool)
    covered[[3, 50]] = False
    folder.ids[3], folder.distances[3], folder.truth[3] = -7, np.nan, np.inf
    path = folder.binary()
    np.save(path / "covered.npy", covered)
    knowledge = load_knowledge(path, data)
    np.testing.assert_array_equal(knowledge.covered.numpy(), covered)
    assert knowledge.rankings.min() >= 1 and knowledge.rankings.max() <= N_ITEMS
    assert torch.isfinite(knowledge.distances).all()
    assert torch.isfinite(knowledge.truth_distance).all()
    np.testing.assert_array_equal(knowledge.rankings.numpy()[covered], folder.ids[covered])


def test_a_signal_that_is_not_declared_is_not_read(folder: Folder, data: PreparedData) -> None:
    path = folder.binary(signals=["embeddings"])
    (path / "rankings.npy").write_bytes(b"rubbish")
    knowledge = load_knowledge(path, data)
    assert knowledge.rankings is None and knowledge.distances is None


def test_trajectories_are_mapped_not_copied(
    folder: Folder, data: PreparedData, lists: np.ndarray
) -> None:
    path = folder.ensemble(lists)
    knowledge = load_knowledge(path, data)
    assert knowledge.trajectories is not None and knowledge.trajectories.dtype == torch.int32
    np.testing.assert_array_equal(knowledge.trajectories.numpy(), lists)
    assert knowledge.trajectory_names == ("a", "b")
    assert knowledge.rankings is None and knowledge.embeddings is None
    mapped = check(path, data).trajectories
    assert isinstance(mapped, np.memmap)
    assert torch.from_numpy(mapped).data_ptr() == mapped.ctypes.data
    assert knowledge.to(torch.device("cpu")).trajectories is knowledge.trajectories
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_knowledge(path, data)
    before = read_manifest(path).files
    knowledge.trajectories[0, 0, 0, 0] = 5  # a stray write stays in this process
    assert read_manifest(path).files == before


def test_trajectories_beside_other_signals(
    folder: Folder, data: PreparedData, lists: np.ndarray
) -> None:
    folder.ensemble(lists)
    path = folder.binary(signals=["rankings", "trajectories"], members=["a", "b"], id_base=1)
    knowledge = load_knowledge(path, data)
    np.testing.assert_array_equal(knowledge.rankings.numpy(), folder.ids)
    np.testing.assert_array_equal(knowledge.trajectories.numpy(), lists)


def test_names_of_models_are_part_of_the_identity(folder: Folder, lists: np.ndarray) -> None:
    path = folder.ensemble(lists)
    before = read_manifest(path).fingerprint
    folder.ensemble(lists, members=["b", "a"])
    assert read_manifest(path).fingerprint != before
    folder.ensemble(lists)
    assert read_manifest(path).fingerprint == before
    folder.ensemble(lists[:, :, ::-1])
    assert read_manifest(path).fingerprint != before


def test_the_identity_is_that_of_the_content(folder: Folder) -> None:
    path = folder.binary()
    before = read_manifest(path).fingerprint
    folder.declare(
        signals=["truth-distance", "confidence", "rankings", "embeddings"], id_base=1, notes=["x"]
    )
    assert read_manifest(path).fingerprint == before
    folder.ids[0] = folder.ids[0][::-1]
    folder.binary()
    assert read_manifest(path).fingerprint != before


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a[0], r"has shape \(3, 240, 5\), expected \[M, C, 240, K\]"),
        (lambda a: a[..., :0], r"truncated|has shape \(2, 3, 240, 0\)"),
        (lambda a: a[:, :, :-1], r"has 239 rows, the training split of toy \(temporal-4\) has 240"),
        (lambda a: a.astype(np.int64), "holds int64, int32 expected: it is memory-mapped"),
        (lambda a: a.astype(np.float32), "holds float32, int32 expected"),
        (lambda a: a.astype(">i4"), "holds >i4, int32 expected"),
        (lambda a: a - 1, r"ids outside 1\.\.30 .*count from 1 whatever id_base says"),
        (lambda a: a[:1], r'lists of 1 models.*"members" is \[.a., .b.\]'),
    ],
)
def test_broken_trajectories(
    spoil, message: str, folder: Folder, data: PreparedData, lists: np.ndarray
) -> None:
    problem = folder.only_problem(folder.ensemble(spoil(lists)), data)
    assert problem.startswith("trajectories.npy ")
    assert re.search(message, problem), problem


@pytest.mark.parametrize("members", [[], ["a"], ["a", "a"], ["a", "b", "c"]])
def test_every_model_has_a_name(
    members: list[str], folder: Folder, data: PreparedData, lists: np.ndarray
) -> None:
    problem = folder.only_problem(folder.ensemble(lists, members=members), data)
    assert "holds the lists of 2 models" in problem and str(members) in problem


@pytest.mark.parametrize("block", [7, 240, 1000])
@pytest.mark.parametrize("item", [0, N_ITEMS + 1, -1])
def test_one_id_out_of_range_is_found_anywhere(
    item: int,
    block: int,
    folder: Folder,
    data: PreparedData,
    lists: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.teachers.rules.BLOCK", block)
    lists[1, 2, 239, 3] = item
    problem = folder.only_problem(folder.ensemble(lists), data)
    assert "holds 1 ids outside 1..30 (first: model 1, state 2, row 239)" in problem


@pytest.mark.parametrize("block", [7, 240])
def test_an_item_twice_in_a_list_of_a_trajectory(
    block: int,
    folder: Folder,
    data: PreparedData,
    lists: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.teachers.rules.BLOCK", block)
    lists[0, 1, 100, 4] = lists[0, 1, 100, 0]
    problem = folder.only_problem(folder.ensemble(lists), data)
    assert "1 lists of trajectories.npy name an item twice" in problem
    assert "(first: model 0, state 1, row 100)" in problem


def test_each_problem_of_a_trajectory_tells_where_it_is_first(
    folder: Folder, data: PreparedData, lists: np.ndarray
) -> None:
    lists[0, 1, 100, 4] = lists[0, 1, 100, 0]
    lists[0, 2, 30, 4] = lists[0, 2, 30, 0]
    lists[1, 0, [20, 7], 3] = N_ITEMS + 1
    outside, twice = folder.refusal(folder.ensemble(lists), data)
    assert "holds 2 ids outside 1..30 (first: model 1, state 0, row 7)" in outside
    assert "2 lists of trajectories.npy" in twice
    assert "(first: model 0, state 1, row 100)" in twice


def test_trajectories_hold_in_rows_that_are_not_covered(
    folder: Folder, data: PreparedData, lists: np.ndarray
) -> None:
    covered = np.ones(N_ROWS, dtype=bool)
    covered[3] = False
    lists[0, 0, 3] = 99  # there is no filling up what is memory-mapped
    path = folder.ensemble(lists)
    np.save(path / "covered.npy", covered)
    assert any("ids outside" in problem for problem in folder.refusal(path, data))


def test_no_teacher(folder: Folder, tmp_path: Path, data: PreparedData) -> None:
    assert folder.only_problem(tmp_path / "nowhere", data) == "no such folder"
    assert "no teacher is there" in folder.only_problem(tmp_path, data)


@pytest.mark.parametrize("name", ["all_embeddings.pt", "myrank_train.txt", "confidence_train.txt"])
def test_missing_published_file(name: str, folder: Folder, data: PreparedData) -> None:
    path = folder.published()
    (path / name).unlink()
    problem = folder.only_problem(path, data)
    assert name in problem and "is missing" in problem


@pytest.mark.parametrize(
    "name", ["embeddings.safetensors", "rankings.npy", "distances.npy", "truth_distance.npy"]
)
def test_missing_file_of_a_declared_signal(name: str, folder: Folder, data: PreparedData) -> None:
    path = folder.binary()
    (path / name).unlink()
    problem = folder.only_problem(path, data)
    assert name in problem and "is missing" in problem


def test_one_based_ids_where_zero_based_ones_are_declared(
    folder: Folder, data: PreparedData
) -> None:
    problem = folder.only_problem(folder.published(base=1), data)
    assert f"outside 0..{N_ITEMS - 1}" in problem
    assert "all of them fit id_base: 1" in problem


def test_zero_based_ids_where_one_based_ones_are_declared(
    folder: Folder, data: PreparedData
) -> None:
    folder.ids -= 1
    problem = folder.only_problem(folder.binary(), data)
    assert f"outside 1..{N_ITEMS}" in problem
    assert "all of them fit id_base: 0" in problem


def test_an_id_one_too_large(folder: Folder, data: PreparedData) -> None:
    folder.ids[0, 0], folder.ids[1, 0] = N_ITEMS + 1, 1
    folder.ids[1, 1:] = np.arange(2, K + 1)
    problem = folder.only_problem(folder.binary(), data)
    assert f"hold 1 ids outside 1..{N_ITEMS}" in problem and f": {N_ITEMS + 1})" in problem
    assert "fit id_base" not in problem  # an id of 1 would be fine under 0 as well, 31 is not


def test_ids_that_fit_no_base(folder: Folder, data: PreparedData) -> None:
    folder.ids[5, 2] = 4000
    problem = folder.only_problem(folder.published(), data)
    assert "3999" in problem and "fit id_base" not in problem


def test_ids_that_are_no_whole_numbers(folder: Folder, data: PreparedData) -> None:
    path = folder.published()
    np.savetxt(path / "myrank_train.txt", folder.ids - 0.5)
    assert "that are not item ids (first in row 0)" in folder.only_problem(path, data)


def test_an_item_twice_in_a_list(folder: Folder, data: PreparedData) -> None:
    folder.ids[7, 4] = folder.ids[7, 0]
    problem = folder.only_problem(folder.binary(), data)
    assert "1 of 240 ranked lists name an item twice (first: row 7)" in problem


def test_rows_are_those_of_the_training_split_where_some_are_not_covered(
    folder: Folder, data: PreparedData
) -> None:
    folder.ids[150, 4] = folder.ids[150, 0]
    folder.ids[160, 2] = N_ITEMS + 5
    folder.distances[170] = folder.distances[170][::-1]
    folder.truth[180] = np.nan
    path = folder.binary()
    np.save(path / "covered.npy", np.arange(N_ROWS) >= 100)
    outside, twice, falling, truth = folder.refusal(path, data)
    assert f"first in row 160, place 2: {N_ITEMS + 5})" in outside
    assert "1 of 140 ranked lists name an item twice (first: row 150)" in twice
    assert "1 of 140 lists (first: row 170)" in falling
    assert "truth_distance.npy" in truth and "(first in row 180)" in truth

    folder.distances[190, 1] = np.inf
    np.save(path / "distances.npy", folder.distances)
    np.save(path / "rankings.npy", np.where(folder.ids == N_ITEMS + 5, 0.5, folder.ids))
    broken = folder.refusal(path, data)
    assert "1 values that are not item ids (first in row 160)" in broken[0]
    assert "the distances hold 1 values" in broken[1] and "(first in row 190)" in broken[1]


@pytest.mark.parametrize("layout", [Folder.published, Folder.binary])
def test_no_row_is_covered(layout, folder: Folder, data: PreparedData) -> None:
    path = layout(folder)
    np.save(path / "covered.npy", np.zeros(N_ROWS, dtype=bool))
    assert folder.only_problem(path, data) == "covered.npy covers no row at all"


def test_distances_that_fall(folder: Folder, data: PreparedData) -> None:
    folder.distances[9] = folder.distances[9][::-1]
    problem = folder.only_problem(folder.binary(), data)
    assert "fall along 1 of 240 lists (first: row 9)" in problem
    assert "catalogue order" not in problem


def test_values_in_catalogue_order(folder: Folder, data: PreparedData) -> None:
    random = np.random.default_rng(0)
    folder.distances = random.random((N_ROWS, N_ITEMS)).astype(np.float32)
    folder.ids = folder.distances.argsort(axis=1).argsort(axis=1) + 1
    problem = folder.only_problem(folder.published(), data)
    assert "catalogue order" in problem and "argsort of an argsort" in problem


def test_scores_in_place_of_distances(folder: Folder, data: PreparedData) -> None:
    folder.distances = folder.distances[:, ::-1].copy()
    problem = folder.only_problem(folder.binary(), data)
    assert "as scores do" in problem


def test_wrong_number_of_rows(folder: Folder, data: PreparedData) -> None:
    folder.ids, folder.distances = folder.ids[:-1], folder.distances[:-1]
    problems = folder.refusal(folder.published(), data)
    assert len(problems) == 2
    assert all("239 rows, the training split of toy (temporal-4) has 240" in p for p in problems)


def test_a_wrong_number_of_rows_hides_no_other_problem(folder: Folder, data: PreparedData) -> None:
    folder.ids, folder.distances = folder.ids[:-1], folder.distances[:-1]
    folder.ids[3, 0] = 4000
    folder.distances[5, 1] = np.nan
    problems = folder.refusal(folder.published(), data)
    assert len(problems) == 4
    assert sum("3999" in p or "NaN" in p for p in problems) == 2


@pytest.mark.parametrize(("items", "hint"), [(N_ITEMS + 1, "padding"), (N_ITEMS - 2, "28 rows")])
def test_wrong_number_of_items(items: int, hint: str, folder: Folder, data: PreparedData) -> None:
    folder.embeddings = np.ones((items, WIDTH), dtype=np.float32)
    problem = folder.only_problem(folder.published(), data)
    assert f"{items} rows, the catalogue {N_ITEMS} items" in problem and hint in problem


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("array", ["embeddings", "distances", "truth"])
def test_values_that_are_not_finite(
    value: float, array: str, folder: Folder, data: PreparedData
) -> None:
    getattr(folder, array)[4] = value
    problem = folder.only_problem(folder.binary(), data)
    assert "NaN or infinite (first in row 4)" in problem


def test_a_nan_written_as_text(folder: Folder, data: PreparedData) -> None:
    folder.distances[11, K - 1] = np.nan
    assert "1 values that are NaN or infinite" in folder.only_problem(folder.published(), data)


def test_lists_and_distances_of_different_length(folder: Folder, data: PreparedData) -> None:
    folder.distances = folder.distances[:, :-1]
    problem = folder.only_problem(folder.binary(), data)
    assert "(240, 4), the ranked lists (240, 5)" in problem


def test_a_vector_in_place_of_a_table(folder: Folder, data: PreparedData) -> None:
    folder.embeddings = folder.embeddings[:, 0]
    assert "shape (30,), expected [30, D]" in folder.only_problem(folder.binary(), data)


def test_fingerprints_of_other_data(folder: Folder, data: PreparedData) -> None:
    path = folder.binary(catalogue_fingerprint="catalogue-a", split_fingerprint="split-a")
    load_knowledge(path, data)
    folder.binary(catalogue_fingerprint="catalogue-b", split_fingerprint="split-b")
    catalogue, split = folder.refusal(path, data)
    assert "another catalogue (catalogue-b)" in catalogue and "catalogue-a" in catalogue
    assert "another split (split-b)" in split


def test_a_file_that_its_manifest_does_not_describe(folder: Folder, data: PreparedData) -> None:
    path = folder.binary()
    hashes = read_manifest(path).files
    folder.truth += 1
    folder.binary(files=hashes)
    assert "truth_distance.npy is not the file" in folder.only_problem(path, data)


def test_a_manifest_with_a_mistake(folder: Folder, data: PreparedData) -> None:
    path = folder.binary(id_base=2, signal=["embeddings"])
    problems = folder.refusal(path, data)
    assert any(p.startswith("id_base") for p in problems)
    assert any(p.startswith("signal:") for p in problems)


def test_an_id_base_is_never_guessed(folder: Folder, data: PreparedData) -> None:
    path = folder.binary()
    folder.declare(signals=["embeddings", "rankings"])
    problem = folder.only_problem(path, data)
    assert problem.startswith("id_base: must be 0 or 1 beside the signal 'rankings'")


def test_a_base_is_asked_for_with_lists_only(folder: Folder, data: PreparedData) -> None:
    path = folder.binary()
    folder.declare(signals=["embeddings"])
    assert load_knowledge(path, data).rankings is None
    assert read_manifest(path).id_base is None


def test_bare_lists_that_never_name_id_0_are_probably_one_based(
    folder: Folder, data: PreparedData
) -> None:
    random = np.random.default_rng(3)
    # 1..28 of 0..29: they fit either base.
    folder.ids = np.argsort(random.random((N_ROWS, N_ITEMS - 2)), axis=1)[:, :K] + 2
    path = folder.published()
    problem = folder.only_problem(path, data)
    assert "probably 1-based" in problem and '"id_base": 1' in problem and "teacher.json" in problem
    signals = ["embeddings", "rankings", "confidence"]
    folder.declare(signals=signals, id_base=1)
    np.testing.assert_array_equal(load_knowledge(path, data).rankings.numpy(), folder.ids - 1)
    folder.declare(signals=signals, id_base=0)
    np.testing.assert_array_equal(load_knowledge(path, data).rankings.numpy(), folder.ids)
    assert "id 0" in summarise(check(path, data), data)["doubts"][0]


def test_a_declared_base_is_doubted_only_without_id_0(folder: Folder, data: PreparedData) -> None:
    path = folder.published()
    folder.declare(signals=["embeddings", "rankings", "confidence"], id_base=0)
    assert not any("names" in doubt for doubt in summarise(check(path, data), data)["doubts"])


def test_a_teacher_of_another_dataset(folder: Folder, data: PreparedData) -> None:
    path = folder.binary(dataset="other")
    assert folder.only_problem(path, data).startswith(
        "made for the dataset other, not for dataset toy"
    )


def test_bare_files_may_lie_in_a_folder_of_any_name(folder: Folder, data: PreparedData) -> None:
    load_knowledge(folder.published(), data)  # the folder is called `t`


# -- ranks of the test targets -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_ranks_of_the_test_targets(dtype: type, folder: Folder, data: PreparedData) -> None:
    path = folder.binary()
    assert load_test_ranks(path, data) is None
    ranks = np.arange(len(data.test)) % N_ITEMS + 1
    np.save(path / "test_ranks.npy", ranks.astype(dtype))
    found = load_test_ranks(path, data)
    assert found is not None and found.masked is None
    assert found.ranked.dtype == np.int32
    np.testing.assert_array_equal(found.ranked, ranks)
    np.testing.assert_array_equal(check(path, data).test_ranks, ranks)
    masked = np.maximum(ranks - 3, 1)
    np.save(path / "masked_test_ranks.npy", masked.astype(dtype))
    both = load_test_ranks(path, data)
    assert both is not None
    np.testing.assert_array_equal(both.ranked, ranks)
    np.testing.assert_array_equal(both.masked, masked)


def test_leaving_items_out_makes_no_rank_worse(folder: Folder, data: PreparedData) -> None:
    path = folder.binary()
    ranks = np.full(len(data.test), 5, dtype=np.int32)
    np.save(path / "test_ranks.npy", ranks)
    ranks[7] = 6
    np.save(path / "masked_test_ranks.npy", ranks)
    with pytest.raises(ArtifactError, match=r"masked_test_ranks\.npy holds 6 at row 7"):
        load_test_ranks(path, data)


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        (np.ones(7, dtype=np.int32), "has 7 rows, the test split of toy .* has 60$"),
        (np.ones((60, 1), dtype=np.int32), "has shape"),
        (np.ones(60, dtype=np.float32), "holds float32, integers expected"),
        (np.array(["1"] * 60), "holds <U1, integers expected"),
        (np.zeros(60, dtype=np.int32), r"holds 0\.\.0; a rank among 30 items is 1\.\.30"),
        (np.full(60, N_ITEMS + 1), r"holds 31\.\.31"),
        (b"rubbish", "is truncated or no plain .npy array"),
    ],
)
def test_ranks_that_are_none(
    ranks: object, message: str, folder: Folder, data: PreparedData
) -> None:
    path = folder.binary()
    if isinstance(ranks, bytes):
        (path / "test_ranks.npy").write_bytes(ranks)
    else:
        np.save(path / "test_ranks.npy", ranks)
    (problem,) = check(path, data).problems
    assert re.match(f"test_ranks.npy {message}", problem)
    with pytest.raises(ArtifactError, match=message):
        load_test_ranks(path, data)


def test_what_methods_learn_from_is_read_without_a_look_at_test_rows(
    folder: Folder, data: PreparedData
) -> None:
    path = folder.binary()
    (path / "test_ranks.npy").write_bytes(b"whoever reads this stumbles")
    np.testing.assert_array_equal(load_knowledge(path, data).rankings.numpy(), folder.ids)
    assert check(path, data).problems


# -- files that hold something else ----------------------------------------------------------------


def test_distances_of_small_integers_that_fall(folder: Folder, data: PreparedData) -> None:
    folder.distances = np.tile(np.arange(K, 0, -1, dtype=np.uint8), (N_ROWS, 1))
    assert "fall everywhere" in folder.only_problem(folder.binary(), data)


def test_coverage_of_the_wrong_shape(folder: Folder, data: PreparedData) -> None:
    path = folder.binary()
    np.save(path / "covered.npy", np.ones(7, dtype=bool))
    assert (
        "covered.npy has 7 rows, the training split of toy (temporal-4) has 240"
        in folder.only_problem(path, data)
    )


def test_all_problems_are_told_at_once(folder: Folder, data: PreparedData) -> None:
    folder.ids[0, 0] = 999
    folder.ids[1, 1] = folder.ids[1, 0]
    folder.distances[2] = folder.distances[2][::-1]
    folder.embeddings[3, 3] = np.nan
    path = folder.binary(split_fingerprint="split-b")
    (path / "truth_distance.npy").unlink()
    problems = folder.refusal(path, data)
    for text in ("999", "twice", "fall", "NaN", "another split", "truth_distance.npy is missing"):
        assert any(text in problem for problem in problems), text
    assert len(problems) == 6


@pytest.mark.parametrize("name", ["/etc/passwd", "../other/rankings.npy", "a/b.npy", "..", "c:\\x"])
def test_a_manifest_names_files_in_its_folder(
    name: str, folder: Folder, data: PreparedData
) -> None:
    folder.binary(files={name: "0" * 64})
    problem = folder.only_problem(folder.path, data)
    assert "is no name of a file in its folder" in problem


def test_links_lead_nowhere_else(folder: Folder, data: PreparedData, tmp_path: Path) -> None:
    folder.binary()
    (folder.path / "rankings.npy").rename(folder.path / "own.npy")
    (folder.path / "rankings.npy").symlink_to("own.npy")
    load_knowledge(folder.path, data)
    (folder.path / "own.npy").rename(tmp_path / "other.npy")
    (folder.path / "rankings.npy").unlink()
    (folder.path / "rankings.npy").symlink_to(tmp_path / "other.npy")
    problem = folder.only_problem(folder.path, data)
    assert problem.startswith("rankings.npy is a link that leads out of the folder")
