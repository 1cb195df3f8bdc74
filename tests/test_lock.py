"""The locked requirements: every release with its hashes, all that is declared, and no host."""

import re

import pytest

from bench.paths import SHIPPED

LOCK = SHIPPED / "requirements.lock"
PROJECT = SHIPPED / "pyproject.toml"

pytestmark = pytest.mark.skipif(not LOCK.is_file(), reason="an installation has no lock")


def locked() -> dict[str, list[str]]:
    """The lines behind each release, by name of the package."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in LOCK.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        if not line.startswith(" "):
            name = re.split(r"[=<>\[ ]", line)[0]
        found.setdefault(name, []).append(line)
    return found


def test_every_release_has_hashes_and_no_host() -> None:
    assert len(locked()) > 100
    for name, lines in locked().items():
        releases = [line for line in lines if not line.startswith(" ")]
        assert all(re.match(rf"{re.escape(name)}==\S+ ", line) for line in releases), name
        assert sum("--hash=sha256:" in line for line in lines) >= len(releases), name
    text = LOCK.read_text("utf-8")
    assert "://" not in text and not re.search(r"^-", text, re.MULTILINE)


def test_what_is_declared_is_locked() -> None:
    tomllib = pytest.importorskip("tomllib")
    content = tomllib.loads(PROJECT.read_text("utf-8"))
    project = content["project"]
    extras = (project["optional-dependencies"][name] for name in ("text", "test", "dev"))
    declared = sum(extras, [*project["dependencies"], *content["dependency-groups"]["recbole"]])
    names = {re.split(r"[=<>\[ ;]", one)[0].lower().replace("_", "-") for one in declared}
    assert names - {"torch"} <= locked().keys()


def test_what_depends_on_the_machine_is_not() -> None:
    of_torch = {n for n in locked() if n.startswith(("torch", "nvidia-", "cuda-", "triton"))}
    assert not of_torch


def test_the_lock_keeps_the_constraints() -> None:
    constraints = (SHIPPED / "constraints.txt").read_text("utf-8").splitlines()
    for line in constraints:
        name, _, version = line.partition("==")
        if version and name != "torch":
            assert locked()[name][0].startswith(f"{line} ")
