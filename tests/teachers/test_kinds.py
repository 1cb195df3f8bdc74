"""Kinds of teachers are known without being imported, those of other packages among them."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bench import registry
from bench.errors import ConfigError
from bench.paths import PACKAGE, SHIPPED
from bench.registry import SourceRegistry
from bench.teachers.builder import Builder
from bench.teachers.registry import KINDS, KindEntry, find_kind

SOURCE = '''
from pydantic import BaseModel
from bench.teachers.builder import Builder
from bench.teachers.registry import register_teacher

@register_teacher("far-away", signals={"embeddings"}, optional={"histories"}, synthetic_only=True)
class Mine(Builder):
    """From another package."""
    Options = BaseModel
'''


def kinds_with(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SourceRegistry[type[Builder], KindEntry]:
    """A registry that finds nothing but an entry point whose module has this source."""
    module = f"kind_{abs(hash((source, tmp_path)))}"
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    groups = {"bench.teachers": [EntryPoint("mine", module, "bench.teachers")]}
    monkeypatch.setattr(registry, "entry_points", lambda group: groups[group])
    base = "bench.teachers.builder:Builder"
    return SourceRegistry("teacher kind", KindEntry, base, "teacher", tmp_path / "none")


def test_a_kind_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = kinds_with(SOURCE, tmp_path, monkeypatch)
    (entry,) = kinds
    module = str(entry.target).partition(":")[0]
    assert module not in sys.modules
    assert entry.summary == "From another package." and entry.synthetic_only
    assert entry.offers({}) == {"embeddings"}
    assert entry.offers({"histories": True}) == {"embeddings", "histories"}
    loaded = kinds.load("far-away")
    assert issubclass(loaded, Builder) and loaded.name == "far-away" and module in sys.modules


def test_a_class_that_is_no_builder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = kinds_with(SOURCE.replace("Mine(Builder)", "Mine"), tmp_path, monkeypatch)
    with pytest.raises(ConfigError, match=r"class Mine is no bench\.teachers\.builder\.Builder"):
        kinds.load("far-away")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ('signals={"embedings"}', "unknown signal 'embedings'.*Did you mean 'embeddings'"),
        ('signal={"embeddings"}', "unknown argument 'signal'.*Did you mean 'signals'"),
    ],
)
def test_a_mistake_in_the_registration_leaves_the_kind_out(
    wrong: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = SOURCE.replace('signals={"embeddings"}', wrong)
    assert list(kinds_with(source, tmp_path, monkeypatch)) == []
    (warning,) = caplog.messages
    assert re.search(says, warning), warning


SHIPPED_KINDS = [entry.name for entry in KINDS if PACKAGE in Path(entry.path).parents]


@pytest.mark.parametrize("name", SHIPPED_KINDS)
def test_a_kind_of_the_suite_is_a_builder(name: str) -> None:
    loaded = KINDS.load(name)
    assert issubclass(loaded, Builder) and loaded.name == name
    for option in KINDS.get(name).optional:
        assert loaded.Options.model_fields[option].default is False


def test_a_name_that_no_kind_has_is_left_to_whoever_builds() -> None:
    assert find_kind("nothing") is None and find_kind(None) is None
    assert find_kind("text") == KINDS.get("text")


def test_kinds_are_listed_without_torch() -> None:
    code = (
        "import sys; from bench.teachers.registry import KINDS; assert KINDS.names();"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SHIPPED, check=False)  # noqa: S603
    assert done.returncode == 0
