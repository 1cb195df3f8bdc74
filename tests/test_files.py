"""A file that is written is there whole, or as it was."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from bench.errors import ConfigError
from bench.files import swept, write_output, write_whole, writing_to


def test_bytes_and_what_a_function_writes(tmp_path: Path) -> None:
    path = tmp_path / "some.npy"
    write_whole(path, b"first")
    assert path.read_bytes() == b"first"
    write_whole(path, lambda stream: np.save(stream, np.arange(3)))
    assert np.load(path).tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    def fail(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise RuntimeError("power cut")

    path = tmp_path / "some.txt"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError, match="power cut"):
        write_whole(path, fail)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_umask_counts(tmp_path: Path) -> None:
    write_whole(tmp_path / "ours", b"")
    (tmp_path / "theirs").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "some.txt", b"")


def test_a_place_that_cannot_be_written_to_is_told_in_one_line(tmp_path: Path) -> None:
    place = tmp_path / "nowhere" / "some.txt"
    with pytest.raises(ConfigError) as caught, writing_to(f"--output {place}"):
        write_whole(place, b"")
    assert str(caught.value) == f"--output {place} cannot be written to: No such file or directory"


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="power cut"), writing_to(tmp_path):
        raise RuntimeError("power cut")


def test_what_a_killed_writer_left_is_swept_and_a_living_one_writes_again(tmp_path: Path) -> None:
    (tmp_path / ".some.writing-0123abcd").write_bytes(b"half")
    swept(tmp_path)
    assert [*tmp_path.iterdir()] == []
    times: list[int] = []

    def write(stream: BinaryIO) -> None:
        times.append(stream.write(b"whole"))
        if len(times) < 3:  # another process sweeps
            swept(tmp_path)

    write_whole(tmp_path / "some", write)
    assert (tmp_path / "some").read_bytes() == b"whole" and len(times) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["some"]


def test_an_output_goes_into_what_is_no_ordinary_file(tmp_path: Path) -> None:
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target"
    os.mkfifo(pipe)
    link.symlink_to(target)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_output(pipe, b"text")
    reader.join()
    write_output(link, b"text")
    assert received == [b"text"] and pipe.is_fifo()
    assert link.is_symlink() and target.read_bytes() == b"text"
