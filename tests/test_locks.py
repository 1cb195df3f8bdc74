"""A lock has one holder, in this process and in all others, and dies with it."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import leases, locks
from bench.errors import ConfigError
from bench.folders import locked
from bench.locks import attempted
from bench.paths import SHIPPED

HOLD = """
import sys
from pathlib import Path
from bench.folders import locked
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
    assert f" (process {first.pid} on " in locks.holder(path)
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
        assert f" (process {os.getpid()} on " in locks.holder(path)  # and asking frees nothing
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
        path.unlink(missing_ok=True)
        lock(handle, how)

    monkeypatch.setattr(fcntl, "lockf", after_another_one_let_go)
    with attempted(path) as granted:
        assert not granted


def without_locks(error: int) -> Callable[..., None]:
    def lockf(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    return lockf


SITE = """
import fcntl
def lockf(*_):
    raise OSError({error}, "no locks here")
fcntl.lockf = lockf
"""


@pytest.fixture(params=[errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
def no_locks(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """This process and its children find no locks in any file system; a lease lasts a second."""
    monkeypatch.setattr(fcntl, "lockf", without_locks(request.param))
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE.format(error=request.param))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(SHIPPED)]))
    monkeypatch.setenv(leases.SECONDS, "1")
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def test_without_locks_a_lease_has_one_holder(no_locks: Path) -> None:
    path = no_locks / "lock"
    first = holder(path)
    assert first.stdout is not None and first.stdout.readline() == "True\n"
    assert f" (process {first.pid} on " in locks.holder(path)
    time.sleep(1.5)  # it is renewed
    with attempted(path) as granted:
        assert not granted
    first.communicate("")
    with attempted(path) as granted:
        assert granted
        other = holder(path)
        assert other.communicate("")[0] == "False\n"
    assert list(no_locks.iterdir()) == []


def test_the_lease_of_a_process_that_died_here_is_free_at_once(
    no_locks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(leases.SECONDS, "600")
    path = no_locks / "lock"
    first = holder(path)
    assert first.stdout is not None and first.stdout.readline() == "True\n"
    first.kill()
    first.communicate()
    assert path.exists()
    with attempted(path) as granted:
        assert granted


def test_the_lease_of_a_dead_machine_is_taken_after_its_time_and_not_before(
    no_locks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = no_locks / "lock"
    lost = {"machine": "another", "pid": 1, "started": 0.0, "token": "its"}
    path.write_text(json.dumps(lost))
    os.utime(path, (time.time() - 100, time.time() - 100))
    monkeypatch.setenv(leases.SECONDS, "300")
    with attempted(path) as granted:
        assert not granted
    monkeypatch.setenv(leases.SECONDS, "60")
    with attempted(path) as granted:
        assert granted
        assert json.loads(path.read_text())["machine"] != "another"
    assert list(no_locks.iterdir()) == []


def test_who_was_taken_for_dead_neither_renews_nor_removes(no_locks: Path) -> None:
    path = no_locks / "lock"
    with attempted(path) as granted:
        assert granted
        path.write_text(json.dumps({"machine": "another", "token": "its"}))
        os.utime(path, (1, 1))
        time.sleep(0.5)
        assert path.stat().st_mtime == 1
    assert path.exists()


def test_a_lock_is_not_granted_where_another_machine_holds_a_lease(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps({"machine": "another", "token": "its"}))
    with attempted(path) as granted:
        assert not granted
    os.utime(path, (1, 1))
    with attempted(path) as granted:
        assert granted


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan"])
def test_a_wrong_time_of_a_lease_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(leases.SECONDS, text)
    with pytest.raises(ConfigError, match=f"{leases.SECONDS}={text}: expected seconds"):
        leases.stale_seconds()


def test_a_lock_that_cannot_be_had_is_an_error_and_no_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (errno.EINVAL, errno.EIO, errno.ESTALE):
        monkeypatch.setattr(fcntl, "lockf", without_locks(error))
        with pytest.raises(ConfigError, match="cannot be written to"), locked(tmp_path / "made"):
            pytest.fail("nothing is locked")
