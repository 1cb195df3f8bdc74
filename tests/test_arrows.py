"""The dependencies that must never exist, kept by reading every import of the tree."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.paths import SHIPPED

CONFIGURED = ("bench/layers.py", "bench/data/", "bench/students/", "bench/teachers/")
FILES = sorted([*(SHIPPED / "bench").rglob("*.py"), *(SHIPPED / "methods").rglob("*.py")])


def imports(path: Path, *, deferred: bool = True) -> Iterator[str]:
    """Modules that a file imports; without `deferred` only those that importing it imports."""
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        if not deferred and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # Within `methods` alone: it is `methods` in a checkout and `bench.methods` in a wheel.
            assert node.level == 0 or "methods" in path.parts, f"{path}: a relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            argument = node.args[0]
            if isinstance(argument, ast.JoinedStr):
                argument = argument.values[0]
            if isinstance(argument, ast.Constant):
                yield str(argument.value).rstrip(".")
        pending.extend(ast.iter_child_nodes(node))


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def closure(path: Path) -> set[str]:
    """All that importing a file imports, files of the suite followed."""
    found: set[str] = set()
    pending = [path]
    while pending:
        for module in imports(pending.pop(), deferred=False):
            if module in found:
                continue
            found.add(module)
            source = SHIPPED / f"{module.replace('.', '/')}.py"
            if source.is_file():
                pending.append(source)
    return found


def test_the_reader_sees_imports(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(
        "import torch.nn\nfrom bench.cli import main\n"
        "def f():\n    import pandas\n    importlib.import_module('recbole.model')\n"
    )
    assert set(imports(path)) >= {"torch.nn", "bench.cli.main", "pandas", "recbole.model"}
    assert "pandas" not in set(imports(path, deferred=False))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SHIPPED)))
def test_forbidden_imports(path: Path) -> None:
    place = path.relative_to(SHIPPED).as_posix()
    modules = set(imports(path))
    if place.startswith("methods/"):
        beyond = {m for m in modules if within(m, "bench") and m != "bench"}
        assert all(within(m, "bench.registry") or within(m, "bench.distillation") for m in beyond)
    assert not {m for m in modules if within(m, "methods")}
    if place.startswith("bench/distillation/"):
        beyond = {m for m in modules if within(m, "bench") and m != "bench"}
        assert all(within(m, "bench.distillation") or within(m, "bench.signals") for m in beyond)
    if place != "bench/students/recbole.py":
        assert not {m for m in modules if within(m, "recbole")}
    if not place.startswith("bench/cli/") and place != "bench/__main__.py":
        assert not {m for m in modules if within(m, "bench.cli")}
    if place.startswith("bench/teachers/") and not place.startswith("bench/teachers/kinds/"):
        assert not {m for m in modules if within(m, "bench.teachers.kinds")}
    if place.startswith(CONFIGURED):
        assert not {m for m in modules if within(m, "bench.config")}
    if place.startswith("bench/records/"):
        assert not {m for m in modules if within(m, "bench.reporting")}
    if place.startswith("bench/teachers/towers/"):
        assert not {m for m in modules if within(m, "bench.teachers.language")}
    if place.startswith("bench/teachers/language/"):
        assert not {m for m in modules if within(m, "bench.teachers.towers")}
    if place.startswith("bench/teachers/recommenders/"):
        assert not {m for m in modules if within(m, "bench.teachers.towers")}
        assert not {m for m in modules if within(m, "bench.teachers.language")}


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in FILES
        if path.relative_to(SHIPPED)
        .as_posix()
        .startswith(
            (
                "bench/reporting/",
                "bench/__init__.py",
                "bench/api.py",
                "bench/plan.py",
                "bench/signals.py",
                "bench/config/",
                "bench/records/",
                "bench/cli/",
            )
        )
    ],
    ids=lambda path: str(path.relative_to(SHIPPED)),
)
def test_no_torch_at_import(path: Path) -> None:
    assert not {module for module in closure(path) if within(module, "torch")}


def test_packages_hold_no_code() -> None:
    faces = {SHIPPED / "bench", SHIPPED / "bench" / "distillation"}
    for path in FILES:
        if path.name == "__init__.py" and path.parent not in faces:
            assert len(ast.parse(path.read_text(encoding="utf-8")).body) <= 1, path
