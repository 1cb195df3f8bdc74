"""A trial's method: found, imported, and given settings that it understands."""

from pathlib import Path

import pytest

from bench.config.grid import resolve
from bench.config.selection import Selection
from bench.errors import ConfigError
from bench.execution.method import method_config
from bench.paths import Workspace
from bench.plan import TrialSpec
from bench.registry import METHODS

BROKEN = """
from bench.registry import register_method

@register_method("broken-import")
class Broken: ...

import no_such_module
"""


def trial_of(tiny: Workspace, method: str, *overrides: str) -> TrialSpec:
    axes = {"methods": [method], "datasets": ["tiny"], "students": ["tiny"]}
    (trial,) = resolve(Selection.model_validate({**axes, "set": overrides}), tiny).trials
    return trial


def test_the_defaults_of_the_class_are_filled_in(tiny: Workspace) -> None:
    trial = trial_of(tiny, "ranking-only", "method.weight=0.25")
    method = METHODS.load(trial.method)
    config = method_config(trial, method)
    assert isinstance(config, method.Config)
    assert config.model_dump()["weight"] == 0.25
    assert config.model_dump().keys() > trial.method_settings.keys()


def test_a_wrong_setting_is_told_with_method_and_variant(tiny: Workspace) -> None:
    trial = trial_of(tiny, "ranking-only:paper", "method.weight=-1")
    with pytest.raises(ConfigError, match=r"^settings of method ranking-only:paper: 'weight'"):
        method_config(trial, METHODS.load(trial.method))


def test_a_file_that_cannot_be_imported_is_named_every_time(
    tiny: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    monkeypatch.setattr(METHODS, "_found", dict(METHODS._found))
    METHODS.add_plugin(path)
    trial = trial_of(tiny, "broken-import")
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"from {path}: ModuleNotFoundError: .*no_such"):
            METHODS.load(trial.method)
