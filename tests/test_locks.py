"""A lock has one holder, in this process and in all others, and dies with it."""

import errno
import fcntl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench.errors import ConfigError
from bench.locks import attempted
from bench.paths import SHIPPED

HOLD = """
import sys
from pathlib import Path
from bench.locks import attempted
with attempted(Path(sys.argv[1])) as granted:
    print(granted, flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", HOLD, str(path)],
        cwd=SHIPPED,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_one_process_holds_it_until_it_ends_or_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = holder(path), None
    assert first.stdout is not None and first.stdout.readline() == "True\n"
    with attempted(path) as granted:
        assert not granted
    second = holder(path)
    assert second.communicate("")[0] == "False\n"
    first.kill()
    first.communicate()
    assert path.exists(), "who is killed leaves the file"
    with attempted(path) as granted:
        assert granted
    assert not path.exists()


def test_one_thread_of_a_process_holds_it(tmp_path: Path) -> None:
    path, seen = tmp_path / "lock", []

    def attempt() -> None:
        with attempted(path) as granted:
            seen.append(granted)

    with attempted(path) as granted:
        assert granted
        for _ in range(2):  # a refused attempt frees nothing
            thread = threading.Thread(target=attempt)
            thread.start()
            thread.join()
        other = holder(path)
        assert other.communicate("")[0] == "False\n"
    attempt()
    assert seen == [False, False, True]


def test_a_lock_on_a_file_that_was_removed_protects_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    lock = fcntl.lockf

    def after_another_one_let_go(handle: int, how: int) -> None:
        path.unlink()
        lock(handle, how)

    monkeypatch.setattr(fcntl, "lockf", after_another_one_let_go)
    with attempted(path) as granted:
        assert not granted


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def none(*_: object) -> None:
        raise OSError(error, "not here")

    monkeypatch.setattr(fcntl, "lockf", none)
    with (
        pytest.raises(ConfigError, match=f"{tmp_path}: its file system has no locks"),
        attempted(tmp_path / "lock"),
    ):
        pytest.fail("nothing is locked")
