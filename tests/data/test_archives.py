"""Tables inside archives, as people pack them."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from bench.data.sources.archives import check_whole, lines_of
from bench.errors import DataError

FILES = {"README": b"about\n", "deep/rows.csv": b"1,2\n3,4\n"}


def tar_of_a_folder(path: Path, files: dict[str, bytes]) -> Path:
    """What `tar czf path .` makes: the folder `.`, and `./` before every name."""
    with tarfile.open(path, "w:gz") as tar:
        top = tarfile.TarInfo(".")
        top.type = tarfile.DIRTYPE
        tar.addfile(top)
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def read(path: Path, member: str | None = None) -> list[bytes]:
    with lines_of(path, member) as lines:
        return list(lines)


@pytest.mark.parametrize("member", ["deep/rows.csv", "./deep/rows.csv", "*.csv", "deep/*"])
def test_a_packed_folder_is_read_by_the_names_that_it_has_inside(
    tmp_path: Path, member: str
) -> None:
    path = tar_of_a_folder(tmp_path / "x.tgz", FILES)
    check_whole(path)
    assert read(path, member) == [b"1,2\n", b"3,4\n"]


def test_its_only_file_needs_no_name(tmp_path: Path) -> None:
    files = {"rows.csv": b"1,2\n", "__MACOSX/rows.csv": b"x"}
    assert read(tar_of_a_folder(tmp_path / "x.tar.gz", files)) == [b"1,2\n"]


def test_a_member_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    path = tar_of_a_folder(tmp_path / "x.tgz", FILES)
    with pytest.raises(
        DataError, match=r"0 members are called 'rows\.csv'.*: README, deep/rows.csv"
    ):
        read(path, "rows.csv")


@pytest.mark.parametrize("name", ["../x", "./../x", "/etc/x", "c:/x", "..\\x"])
def test_what_would_lie_outside_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(name, b"1")
    with pytest.raises(DataError, match="would lie outside its folder"):
        check_whole(tmp_path / "x.zip")
