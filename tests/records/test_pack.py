"""Records in archives: the same through the store, and harmless whatever an archive holds."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench import limits
from bench.cli.main import main
from bench.errors import ConfigError, DataError
from bench.paths import Workspace
from bench.plan import Reference
from bench.records import archive
from bench.records.export import student_file
from bench.records.pack import pack
from bench.records.record import Record, failed, finished
from bench.records.store import ResultStore

from .test_store import make_outcome, make_trial

ARCHIVE = "d.zip"


def reference(dataset: str) -> Record:
    subject = Reference(dataset=dataset, protocol="p", name="popularity", data_fingerprint=dataset)
    return finished(subject, make_outcome())


@pytest.fixture
def loose(tmp_path: Path) -> ResultStore:
    """Two successes, a failure and a reference of `d`, with users; a reference of `other`."""
    store = ResultStore(tmp_path / "loose")
    for seed in (0, 1):
        store.write(finished(make_trial(seed), make_outcome()), make_outcome())
    store.write(failed(make_trial(2), "diverged", "nan"), curve=[{"epoch": 1, "loss": 1.0}])
    for dataset in ("d", "other"):
        store.write(reference(dataset), make_outcome(curve=[]))
    store.write_users("f", np.array([4, 4, 7], dtype=np.int32))
    return store


@pytest.fixture
def packed(loose: ResultStore, tmp_path: Path) -> ResultStore:
    """The archives alone."""
    folder = tmp_path / "packed"
    folder.mkdir()
    for path in pack(loose):
        shutil.move(path, folder)
    return ResultStore(folder)


def contents(store: ResultStore) -> list[tuple[Record, list[int] | None]]:
    return [
        (record, store.ranks(record.key).tolist() if record.is_done else None)
        for record in store.records()
    ]


def test_packed_records_are_read_as_loose_ones(loose: ResultStore, packed: ResultStore) -> None:
    assert {path.name for path in packed.folder.iterdir()} == {"d.zip", "other.zip"}
    assert len(loose.records()) == 5
    assert contents(packed) == contents(loose)
    for store in (loose, packed):
        users = store.users("f")
        assert users is not None and users.tolist() == [4, 4, 7]
        assert store.users("g") is None
        assert store.get("0" * 64) is None
    (failure,) = (record for record in packed.records() if not record.is_done)
    with pytest.raises(DataError, match=rf"d\.zip.{failure.key}.*no ranks"):
        packed.ranks(failure.key)


def test_one_archive_is_a_store(packed: ResultStore) -> None:
    alone = ResultStore(packed.folder / ARCHIVE)
    assert contents(alone) == [pair for pair in contents(packed) if pair[0].subject.dataset == "d"]


def test_the_same_records_give_the_same_bytes(loose: ResultStore, packed: ResultStore) -> None:
    for path in pack(loose):
        os.utime(loose.folder / loose.records()[0].key / "record.json", (0, 0))
        assert path.read_bytes() == (packed.folder / path.name).read_bytes()
    before = (packed.folder / ARCHIVE).read_bytes()
    pack(packed)
    assert (packed.folder / ARCHIVE).read_bytes() == before


def test_records_that_came_later_join_those_of_the_archive(packed: ResultStore) -> None:
    new = finished(make_trial(7), make_outcome())
    packed.write(new, make_outcome())
    before = contents(packed)
    pack(packed)
    shutil.rmtree(packed.folder / new.key)
    again = ResultStore(packed.folder)
    assert contents(again) == before and new in again.records()


def test_a_folder_comes_before_archives(packed: ResultStore) -> None:
    (failure,) = (record for record in packed.records() if not record.is_done)
    success = finished(make_trial(2), make_outcome())
    assert success.key == failure.key
    packed.write(success, make_outcome())
    assert packed.get(failure.key) == success
    pack(packed)
    shutil.rmtree(packed.folder / success.key)
    assert ResultStore(packed.folder).get(failure.key) == success


def test_an_archive_unzips_into_a_results_folder(packed: ResultStore, tmp_path: Path) -> None:
    for path in packed.folder.iterdir():
        zipfile.ZipFile(path).extractall(tmp_path / "unzipped")
    assert contents(ResultStore(tmp_path / "unzipped")) == contents(packed)


def test_students_and_logs_stay_in_their_folders(packed: ResultStore) -> None:
    record = packed.records()[0]
    names = {Path(name).name for name in zipfile.ZipFile(packed.folder / ARCHIVE).namelist()}
    assert names == {"record.json", "ranks.npy", "curve.csv", "f.npy"}
    with pytest.raises(ConfigError, match="this record holds no student"):
        student_file(record, packed)


def test_an_archive_is_read_only(packed: ResultStore) -> None:
    alone, record = ResultStore(packed.folder / ARCHIVE), reference("new")
    before = alone.folder.read_bytes()

    def claim() -> None:
        with alone.claim(record.key):
            pass

    for attempt in (
        alone.check_writable,
        claim,
        lambda: alone.write(record, make_outcome()),
        lambda: alone.write_users("g", np.arange(3)),
        lambda: pack(alone),
    ):
        with pytest.raises(ConfigError, match=r"d\.zip is an archive of records.*read-only: unzip"):
            attempt()
    assert alone.folder.read_bytes() == before
    assert {path.name for path in packed.folder.iterdir()} == {"d.zip", "other.zip"}


def test_a_store_that_has_read_archives_goes_to_other_processes(packed: ResultStore) -> None:
    assert packed.records() == pickle.loads(pickle.dumps(packed)).records()  # noqa: S301 - ours


def rewritten(path: Path, change: Callable[[str, bytes], bytes], **options: int) -> None:
    """Write an archive again, with the content of members changed."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", **options) as new:
        for name, content in members.items():
            new.writestr(name, change(name, content))


def encrypted(path: Path) -> None:
    """Set the flag of encryption in the central directory."""
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"not a zip"), "not a zip file"),
        (lambda path: path.write_bytes(b""), "not a zip file"),
        (lambda path: os.truncate(path, path.stat().st_size // 2), "not a zip file"),
        (lambda path: rewritten(path, lambda _, c: c, compression=zipfile.ZIP_LZMA), "packed with"),
        (encrypted, "is encrypted"),
    ],
    ids=["no archive", "empty", "cut off", "other compression", "encrypted"],
)
def test_a_broken_archive_is_one_clear_error(
    packed: ResultStore, damage: Callable[[Path], None], message: str
) -> None:
    path = packed.folder / ARCHIVE
    damage(path)
    with pytest.raises(DataError, match=rf"d\.zip: .*{message}"):
        packed.records()
    outcome = CliRunner().invoke(main, ["report", "--results", str(packed.folder)])
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith(f"Error: {path}: ") and outcome.stderr.count("\n") == 1


@pytest.mark.parametrize("packed_size", [True, False])
def test_what_unpacks_to_far_too_much_is_not_read(
    packed: ResultStore, packed_size: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed.folder / ARCHIVE
    if not packed_size:
        with zipfile.ZipFile(path, "a") as bomb:
            bomb.writestr("bomb", bytes(10**6), zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(archive, "MAX_BYTES", 100 if packed_size else 10**9)
    monkeypatch.setattr(limits, "FREE_BYTES", 10**5)
    with pytest.raises(DataError, match=r"(has|unpacks to) more than"):
        packed.records()


def test_a_record_that_is_huge_is_left_out(
    packed: ResultStore, caplog: pytest.LogCaptureFixture
) -> None:
    def swollen(name: str, content: bytes) -> bytes:
        return content + b" " * limits.RECORD if name.endswith("record.json") else content

    rewritten(packed.folder / ARCHIVE, swollen)
    assert "d" not in {record.subject.dataset for record in packed.records()}
    assert "record.json: has more than 4,194,304 bytes" in caplog.text


@pytest.mark.parametrize(
    "changed",
    [
        ("record.json", lambda content: content[:50]),
        ("ranks.npy", lambda content: content[:-4]),
        ("ranks.npy", lambda content: content.replace(b"(3,)", b"(9999999999999,)")[:128]),
        ("ranks.npy", lambda content: b"PK" + content),
    ],
    ids=["record", "ranks", "ranks of a size that nobody has", "ranks that are none"],
)
def test_a_damaged_record_is_one_warning_and_the_others_are_read(
    packed: ResultStore,
    changed: tuple[str, Callable[[bytes], bytes]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    victim = next(record for record in packed.records() if record.is_done)
    others = [record for record in packed.records() if record != victim]
    name, change = changed
    rewritten(
        packed.folder / ARCHIVE,
        lambda member, content: change(content) if member == f"{victim.key}/{name}" else content,
    )
    store = ResultStore(packed.folder)
    with caplog.at_level(logging.WARNING):
        assert store.records() == others
        assert store.get(victim.key) is None
    assert len(caplog.messages) == 1
    assert f"{packed.folder / ARCHIVE}/{victim.key}" in caplog.messages[0]


def test_bytes_that_were_flipped_are_noticed(packed: ResultStore) -> None:
    path = packed.folder / ARCHIVE
    before, content = packed.records(), path.read_bytes()
    key = next(record.key for record in before if record.is_done)
    at = content.index(f"{key}/ranks.npy".encode()) + 100
    path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
    assert key not in {record.key for record in ResultStore(packed.folder).records()}


def test_names_that_lead_elsewhere_lead_nowhere(packed: ResultStore, tmp_path: Path) -> None:
    before = contents(packed)
    with zipfile.ZipFile(packed.folder / ARCHIVE, "a") as hostile:
        for name in ("../out/record.json", "/out/record.json", f"x/{'0' * 64}/record.json", "a"):
            hostile.writestr(name, "{}")
    assert contents(ResultStore(packed.folder)) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../out", "/out", "a/b"])
def test_a_record_cannot_have_files_read_or_written_elsewhere(
    loose: ResultStore, tmp_path: Path, name: str
) -> None:
    np.save(tmp_path / "out.npy", np.arange(3))
    stranger = Reference(dataset="d", protocol="p", name="x", data_fingerprint=f"../{name}")
    record = finished(stranger, make_outcome())
    loose.write(record, make_outcome())
    pack(loose)
    assert loose.users(f"../{name}") is None
    with zipfile.ZipFile(loose.folder / ARCHIVE) as packed:
        assert not [name for name in packed.namelist() if ".." in name]
    loose.write(reference(name), make_outcome())
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="no name of a file"):
        pack(loose)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_packed_does_not_run_again(tiny: Workspace) -> None:
    command = ["run", "--dataset", "tiny", "--student", "tiny", "--method", "none", "-m", "none"]

    def invoke(*arguments: str) -> str:
        outcome = CliRunner().invoke(main, [*arguments])
        assert outcome.exit_code == 0, outcome.output
        return outcome.stdout

    first = invoke(*command)
    assert invoke("results", "pack").split() == [str(tiny.results / "tiny.zip")]
    for path in tiny.results.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    assert invoke(*command) == first
    assert [path.name for path in tiny.results.iterdir()] == ["tiny.zip"]
