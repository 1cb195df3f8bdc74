"""The names of a method's settings, as its source tells them."""

from pathlib import Path

import pytest

from bench.config.method_settings import setting_names
from bench.registry import METHODS, MethodEntry


@pytest.mark.parametrize("entry", list(METHODS), ids=lambda entry: entry.name)
def test_the_source_tells_what_the_class_has(entry: MethodEntry) -> None:
    assert setting_names(entry) == set(METHODS.load(entry.name).Config.model_fields)


def names_of(folder: Path, text: str) -> frozenset[str] | None:
    path = folder / "some.py"
    path.write_text(text)
    (entry,) = METHODS.add_plugin(path)
    return setting_names(entry)


IMPORTS = "from bench.distillation import Method, MethodConfig\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("@register_method('mine')\nclass A(Method):\n  pass\n", set()),
        (
            "@register_method('mine')\nclass A(Method):\n"
            "  class Config(MethodConfig):\n    x: int = 1\n    K: ClassVar[int] = 2\n",
            {"x"},
        ),
        (
            "class C(MethodConfig):\n  x: int = 1\n"
            "class D(C):\n  y: int = 1\n"
            "class B(Method):\n  Config = D\n"
            "@register_method('mine')\nclass A(B):\n  pass\n",
            {"x", "y"},
        ),
        (
            "from methods.ranking_only import RankingOnly\n"
            "@register_method('mine')\nclass A(RankingOnly):\n"
            "  class Config(RankingOnly.Config):\n    mine: int = 1\n",
            {"mine", *(setting_names(METHODS.get("ranking-only")) or set())},
        ),
        ("@register_method('mine')\nclass A(Method):\n  Config = make()\n", None),
        (
            "from elsewhere import C\n@register_method('mine')\nclass A(Method):\n  Config = C\n",
            None,
        ),
    ],
    ids=["none", "own", "inherited", "imported", "computed", "foreign"],
)
def test_where_settings_may_stand(tmp_path: Path, text: str, names: set[str] | None) -> None:
    assert names_of(tmp_path, IMPORTS + text) == names
