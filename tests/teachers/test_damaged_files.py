"""Files that are damaged, cut off, or hold something else than their names promise."""

from __future__ import annotations

import contextlib
import io
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.examples import PreparedData
from bench.teachers.manifest import read_manifest
from bench.teachers.reading import Unreadable, read_npy, read_tensor

from .conftest import N_ITEMS, N_ROWS, Folder

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 142606336\n"
)


@pytest.mark.parametrize(
    "name", ["all_embeddings.pt", "embeddings.safetensors", "rankings.npy", "truth_distance.npy"]
)
def test_a_truncated_file(name: str, folder: Folder, data: PreparedData) -> None:
    path = folder.published() if name.endswith(".pt") else folder.binary()
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[: len(content) // 2])
    problem = folder.only_problem(path, data)
    assert problem.startswith(f"{name} is truncated")


def test_a_truncated_text(folder: Folder, data: PreparedData) -> None:
    path = folder.published()
    text = path / "confidence_train.txt"
    lines = text.read_text().splitlines()
    text.write_text("\n".join([*lines[:100], " ".join(lines[100].split()[:2])]))
    problem = folder.only_problem(path, data)
    assert problem == "confidence_train.txt is truncated: row 100 has 2 values, the first one 5"


@pytest.mark.parametrize("content", ["", "item rank\nnone at all\n", "1 2 3\n1 2 3 4\n"])
def test_a_text_that_is_no_table(content: str, folder: Folder, data: PreparedData) -> None:
    path = folder.published()
    (path / "myrank_train.txt").write_text(content)
    assert folder.only_problem(path, data).startswith("myrank_train.txt is ")


@pytest.mark.parametrize("name", ["all_embeddings.pt", "myrank_train.txt", "rankings.npy"])
def test_a_pointer_in_place_of_a_file(name: str, folder: Folder, data: PreparedData) -> None:
    path = folder.binary() if name.endswith(".npy") else folder.published()
    (path / name).write_text(POINTER)
    problem = folder.only_problem(path, data)
    assert problem.startswith(f"{name} is a pointer of {len(POINTER)} bytes")


class Trap:
    """Leaves a mark if it is ever unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


def _plain(trap: Trap) -> bytes:
    return pickle.dumps(trap)


def _in_torch_archive(trap: Trap) -> bytes:
    stream = io.BytesIO()
    torch.save({"embeddings": trap}, stream)
    return stream.getvalue()


@pytest.mark.parametrize("saved", [_plain, _in_torch_archive])
def test_a_pickle_is_refused_and_never_executed(
    saved, folder: Folder, data: PreparedData, tmp_path: Path
) -> None:
    mark = tmp_path / "executed"
    content = saved(Trap(mark))
    path = folder.published()
    (path / "all_embeddings.pt").write_bytes(content)
    problem = folder.only_problem(path, data)
    assert "all_embeddings.pt" in problem and "never executed" in problem
    assert not mark.exists()
    if saved is _plain:
        pickle.loads(content)  # noqa: S301
        assert mark.exists()  # the trap does work


def test_an_array_of_objects_is_refused(folder: Folder, data: PreparedData, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    path = folder.binary()
    np.save(path / "rankings.npy", np.array([Trap(mark)], dtype=object), allow_pickle=True)
    assert "rankings.npy" in folder.only_problem(path, data)
    assert not mark.exists()


def test_a_dictionary_in_place_of_a_tensor(folder: Folder, data: PreparedData) -> None:
    path = folder.published()
    torch.save({"weight": torch.ones(2, 2)}, path / "all_embeddings.pt")
    assert "holds a dict" in folder.only_problem(path, data)


@pytest.mark.parametrize("name", ["rankings", "distances", "truth_distance"])
@pytest.mark.parametrize("dtype", ["U3", "S3", "c16", "M8[s]", "?", "i4,i4"])
def test_arrays_of_anything_but_numbers(
    name: str, dtype: str, folder: Folder, data: PreparedData
) -> None:
    path = folder.binary()
    np.save(path / f"{name}.npy", np.zeros(N_ROWS, dtype=dtype))
    problem = folder.only_problem(path, data)
    assert problem.startswith(f"{name}.npy holds ") and "numbers expected" in problem


def test_coverage_of_numbers(folder: Folder, data: PreparedData) -> None:
    path = folder.binary()
    np.save(path / "covered.npy", np.ones(N_ROWS))
    assert folder.only_problem(path, data) == "covered.npy holds float64, bool expected"


def test_a_damaged_header(folder: Folder, data: PreparedData) -> None:
    path = folder.binary()
    content = bytearray((path / "rankings.npy").read_bytes())
    for place in range(10, 80):
        for byte in (0, ord("("), ord("'"), 0xFF):
            damaged = content.copy()
            damaged[place] = byte
            (path / "rankings.npy").write_bytes(damaged)
            # It may still be readable: what matters is that nothing but `Unreadable` comes out.
            with contextlib.suppress(Unreadable):
                read_npy(path / "rankings.npy")


def test_a_damaged_tensor_of_the_old_format(folder: Folder) -> None:
    path = folder.published() / "all_embeddings.pt"
    table = torch.from_numpy(folder.embeddings)
    torch.save(table, path, _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(read_tensor(path), folder.embeddings)
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(400):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged[: random.integers(1, len(content) + 1)])
        with contextlib.suppress(Unreadable):
            read_tensor(path)


def test_a_sparse_tensor(folder: Folder, data: PreparedData) -> None:
    path = folder.published()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(torch.eye(N_ITEMS).to_sparse_csr(), path / "all_embeddings.pt")
    assert folder.only_problem(path, data).startswith("all_embeddings.pt ")


def test_damaged_files_of_trajectories(
    folder: Folder, data: PreparedData, lists: np.ndarray, tmp_path: Path
) -> None:
    path = folder.ensemble(lists)
    file = path / "trajectories.npy"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert folder.only_problem(path, data).startswith("trajectories.npy is truncated")
    file.write_text(POINTER)
    assert folder.only_problem(path, data).startswith("trajectories.npy is a pointer")
    mark = tmp_path / "executed"
    np.save(file, np.array([Trap(mark)], dtype=object), allow_pickle=True)
    assert folder.only_problem(path, data).startswith("trajectories.npy is truncated or no plain")
    assert not mark.exists()
    file.unlink()
    assert folder.only_problem(path, data) == "trajectories.npy is missing"
    folder.ensemble(lists)
    hashes = read_manifest(path).files
    folder.ensemble(lists[:, :, ::-1], files=hashes)
    assert "trajectories.npy is not the file" in folder.only_problem(path, data)
