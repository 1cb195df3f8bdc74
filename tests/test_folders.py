"""A folder is there whole or not at all, and one process at a time makes it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bench import folders, locks
from bench.errors import ConfigError
from bench.files import exchange
from bench.folders import created, locked, replaced, scratch, settle

from .listening import listening

Making = Callable[[Path], AbstractContextManager[Path]]


@pytest.fixture(params=["some", "a[1]*"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What is made, with a plain name and one that means something to a shell."""
    return tmp_path / "home" / request.param


def names(folder: Path) -> list[str]:
    """What is beside the folder, itself included."""
    return sorted(path.name for path in folder.parent.iterdir())


@pytest.mark.parametrize("making", [created, replaced])
def test_it_appears_whole(folder: Path, making: Making) -> None:
    with making(folder) as temporary:
        (temporary / "file").write_text("new")
        assert not folder.exists()
    assert (folder / "file").read_text() == "new"
    assert names(folder) == [folder.name]


@pytest.mark.parametrize("making", [created, replaced])
def test_a_failure_leaves_nothing(folder: Path, making: Making) -> None:
    with pytest.raises(RuntimeError, match="power cut"), making(folder) as temporary:
        (temporary / "file").write_text("half")
        raise RuntimeError("power cut")
    assert names(folder) == []


def test_what_was_there_is_replaced_or_stays(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "old").touch()
    with pytest.raises(RuntimeError, match="power cut"), replaced(folder):
        raise RuntimeError("power cut")
    assert names(folder) == [folder.name] and (folder / "old").exists()
    with replaced(folder) as temporary:
        (temporary / "new").touch()
    assert names(folder) == [folder.name]
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_what_is_put_there_meanwhile_stays(folder: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written to"), created(folder) as temporary:
        (temporary / "ours").touch()
        folder.mkdir()
        (folder / "theirs").touch()
    assert names(folder) == [folder.name]
    assert [path.name for path in folder.iterdir()] == ["theirs"]


def _die_within(folder: Path) -> None:
    with scratch(folder) as temporary:
        (temporary / "file").touch()
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("making", [scratch, created, replaced])
def test_what_a_killed_process_left_is_swept(folder: Path, making: Making) -> None:
    process = multiprocessing.get_context("fork").Process(target=_die_within, args=(folder,))
    process.start()
    process.join(60)
    (left,) = names(folder)
    with making(folder):
        assert left not in names(folder)
    assert left not in names(folder)


def _die_half_way(folder: Path) -> None:
    """Killed when the old version is set aside and the new one not yet in its place."""
    folders.exchange = lambda one, other: False  # as on a file system that cannot
    rename = Path.rename

    def or_die(path: Path, target: Path) -> Path:
        if target == folder:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    Path.rename = or_die  # type: ignore[assignment, method-assign]
    with replaced(folder) as temporary:
        (temporary / "new").touch()


@contextlib.contextmanager
def _look_for(folder: Path) -> Iterator[None]:
    """As every command does before it looks for anything."""
    settle(folder.parent)
    yield


def _lock_home(folder: Path) -> AbstractContextManager[None]:
    return locked(folder.parent, folder.with_name(".lock"))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("taking", [lambda folder: locked(folder), _lock_home, scratch, _look_for])
def test_a_replacement_that_was_killed_half_way_is_finished(
    folder: Path, taking: Callable[[Path], AbstractContextManager[object]]
) -> None:
    folder.mkdir(parents=True)
    (folder / "old").touch()
    process = multiprocessing.get_context("fork").Process(target=_die_half_way, args=(folder,))
    process.start()
    process.join(60)
    assert not folder.exists()
    with taking(folder):
        assert [path.name for path in folder.iterdir()] == ["new"]
    assert [name for name in names(folder) if not name.endswith(".lock")] == [folder.name]


def test_a_replacement_that_is_interrupted_half_way_is_finished(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(parents=True)
    (folder / "old").touch()
    rename = Path.rename

    def or_interrupt(path: Path, target: Path) -> Path:
        result = rename(path, target)
        if path == folder:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", or_interrupt)
    with pytest.raises(KeyboardInterrupt), replaced(folder) as temporary:
        (temporary / "new").touch()
    assert names(folder) == [folder.name]
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_a_name_is_never_without_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two names are exchanged in one step, where the file system can."""
    folder.mkdir(parents=True)
    other = folder.with_name("other")
    other.touch()
    if not exchange(folder, other):
        pytest.skip("this file system cannot exchange names")
    assert other.is_dir() and folder.is_file() and exchange(folder, other)
    (folder / "old").touch()
    monkeypatch.setattr(Path, "rename", None)
    with replaced(folder) as temporary:
        (temporary / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_a_replacement_under_way_is_left_alone(folder: Path) -> None:
    """Its process holds the lock: the name is there again before anybody could help."""
    leftover = folder.with_name(f".{folder.name}.building-0123abcd")
    for name in ("old", "new"):
        (leftover / name).mkdir(parents=True)
    with locks.attempted(folder.with_name(f".{folder.name}.lock")) as granted:
        assert granted
        settle(folder.parent)
        assert not folder.exists()
    settle(folder.parent)
    assert folder.exists() and not leftover.exists()


def test_what_is_renamed_has_reached_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, then the folders that name them, then the rename, then the folder around it."""
    done: list[str] = []
    sync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{handle}').readlink().name}")
        sync(handle)

    def renamed(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    with replaced(folder) as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "file").touch()
    assert done == ["sync file", "sync inner", "sync new", "rename", f"sync {folder.parent.name}"]


def test_what_was_only_half_made_is_not_put_in_place(folder: Path) -> None:
    leftover = folder.with_name(f".{folder.name}.building-0123abcd")
    (leftover / "new").mkdir(parents=True)
    with locked(folder):
        assert not folder.exists() and not leftover.exists()


def test_a_neighbours_folder_is_not_swept(folder: Path) -> None:
    neighbour = folder.with_name(f"{folder.name}.leave-one-out-4")
    with scratch(neighbour) as theirs, locked(folder), scratch(folder):
        assert theirs.is_dir()


@pytest.mark.parametrize("making", [scratch, created, replaced])
def test_a_place_that_cannot_be_written_to(tmp_path: Path, making: Making) -> None:
    (tmp_path / "home").write_text("a file where a folder should be")
    with (
        pytest.raises(ConfigError, match="home/some cannot be written to: "),
        making(tmp_path / "home" / "some"),
    ):
        pytest.fail("there is nothing to write to")


@pytest.mark.parametrize("making", [created, replaced])
def test_a_disk_that_is_full(folder: Path, making: Making) -> None:
    with pytest.raises(ConfigError, match="cannot be written to: No space left"), making(folder):
        raise OSError(28, "No space left on device")
    assert names(folder) == []


# -- the lock --------------------------------------------------------------------------------------


@pytest.mark.parametrize("within", [False, True])
def test_who_waits_is_told_so_once(
    folder: Path, within: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "PATIENCE", 0.0)
    lock_file = folder / ".lock" if within else None
    lines: list[str] = []
    waits, order = threading.Event(), []

    def hear(line: str) -> None:
        lines.append(line)
        waits.set()

    def second() -> None:
        with locked(folder, lock_file):
            order.append("second")

    thread = threading.Thread(target=second)
    with listening(hear), locked(folder, lock_file):
        thread.start()
        assert waits.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    who = rf"process {os.getpid()} on \S+, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\S*"
    wanted = rf"another process \({who}\) is working on {re.escape(str(folder))}; waiting for it"
    assert len(lines) == 1 and re.fullmatch(wanted, lines[0])


def test_the_files_of_locks(folder: Path) -> None:
    """Other versions of the suite hold the same ones: their names must stay."""
    with locked(folder):
        assert _is_held(folder.with_name(f".{folder.name}.lock"))
    assert not _is_held(folder.with_name(f".{folder.name}.lock"))
    with locked(folder, folder / ".lock"):
        assert _is_held(folder / ".lock")


def _is_held(lock_file: Path) -> bool:
    with locks.attempted(lock_file) as granted:
        return not granted


def test_a_lock_in_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder should be")
    place = tmp_path / "home" / "some"
    with pytest.raises(ConfigError, match=f"{place} cannot be written to: "), locked(place):
        pytest.fail("nothing is locked")


def test_a_failure_lets_go(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="power cut"), locked(folder):
        raise RuntimeError("power cut")
    assert not _is_held(folder.with_name(f".{folder.name}.lock"))
