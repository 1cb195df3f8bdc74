"""The keys of a method's settings, as the schema of its class tells them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from bench.config.method_settings import setting_keys
from bench.paths import SHIPPED, Workspace
from bench.registry import METHODS, MethodEntry


def leaves(config: BaseModel, path: str = "") -> set[str]:
    """The dotted keys of the values in a configuration."""
    found = set()
    for name, value in config.__dict__.items():
        key = f"{path}{name}"
        found |= leaves(value, f"{key}.") if isinstance(value, BaseModel) else {key}
    return found


def parents(keys: list[str]) -> set[str]:
    """The keys above others, which a value of None stands for."""
    return {key.rpartition(".")[0] for key in keys}


@pytest.mark.parametrize("entry", list(METHODS), ids=lambda entry: entry.name)
def test_they_are_what_the_class_has(entry: MethodEntry, tmp_path: Path) -> None:
    keys = setting_keys(entry, Workspace(tmp_path))
    assert keys is not None
    config = METHODS.load(entry.name).Config
    assert {key.partition(".")[0] for key in keys} == set(config.model_fields)
    assert {key for key in leaves(config()) if key not in parents(keys)} <= set(keys)
    assert setting_keys(entry, Workspace(tmp_path)) == keys  # as they are kept


def test_once_they_are_kept_nothing_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from bench.config.method_settings import setting_keys\n"
        "from bench.paths import Workspace; from bench.registry import METHODS\n"
        "print(len(setting_keys(METHODS.get('dllm2rec'), Workspace(Path(sys.argv[1])))))\n"
        "print('torch' in sys.modules)"
    )
    outputs = [
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", code, str(tmp_path)], cwd=SHIPPED, capture_output=True, text=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert [torch for _, torch in outputs] == ["True", "False"]
    assert outputs[0][0] == outputs[1][0]


def test_where_nothing_can_be_kept_the_class_is_asked(tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("a file where a folder should be")
    keys = setting_keys(METHODS.get("ranking-only"), Workspace(tmp_path))
    assert keys is not None and "weight" in keys


def keys_of(folder: Path, text: str) -> list[str] | None:
    path = folder / "some.py"
    path.write_text(text)
    (entry,) = METHODS.add_plugin(path)
    return setting_keys(entry, Workspace(folder))


IMPORTS = """
from typing import Any, Callable, ClassVar, Literal
from pydantic import BaseModel, Field
from bench.distillation import Method, MethodConfig
from bench.registry import register_method
class Inner(BaseModel):
    a: int = 1
"""


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ("pass", []),
        ("x: int = 1; K: ClassVar[int] = 2", ["x"]),
        ("inner: Inner = Field(Inner(), description='d')", ["inner.a"]),
        ("inner: Inner | None = None", ["inner.a"]),
        ("inner: dict[str, Inner] = {}", ["inner"]),
        ("x: int | Literal['auto'] = 1", ["x"]),
        ("x: Callable[[], int] = int", None),
    ],
    ids=["none", "own", "nested", "optional", "mapping", "choice", "no schema"],
)
def test_where_settings_may_stand(tmp_path: Path, fields: str, keys: Any) -> None:
    text = (
        f"@register_method('mine')\nclass A(Method):\n  class Config(MethodConfig):\n    {fields}\n"
    )
    assert keys_of(tmp_path, IMPORTS + text) == keys


def test_what_is_inherited_counts(tmp_path: Path) -> None:
    text = (
        "from methods.ranking_only import RankingOnly\n"
        "@register_method('mine')\nclass A(RankingOnly):\n"
        "  class Config(RankingOnly.Config):\n    mine: int = 1\n"
    )
    inherited = setting_keys(METHODS.get("ranking-only"), Workspace(tmp_path))
    assert inherited is not None
    assert keys_of(tmp_path, IMPORTS + text) == sorted(["mine", *inherited])
