"""Names of a method's settings, read from its source text so that planning needs no torch."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.paths import PACKAGE, SHIPPED
from bench.registry import MethodEntry


def setting_names(entry: MethodEntry) -> frozenset[str] | None:
    """Top-level names that `Config` of a method declares, those of its bases included.

    Returns:
        None where the source does not tell (a base that is computed, or lives outside the file
        and outside `methods/` and `bench.distillation`): every name may then be a setting.
    """
    try:
        source = _Source.of(entry.path)
        return source.fields(source.config(source.of_name(entry.class_name)))
    except _Untold:
        return None


class _Untold(Exception):
    """The source text does not say."""


@dataclass(frozen=True)
class _Class:
    node: ast.ClassDef
    source: _Source


@dataclass(frozen=True, eq=False)
class _Source:
    """One parsed file: its classes and where its imported names come from."""

    classes: dict[str, ast.ClassDef]
    imports: dict[str, Path]

    @classmethod
    @lru_cache
    def of(cls, path: Path) -> _Source:
        classes: dict[str, ast.ClassDef] = {}
        imports: dict[str, Path] = {}
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                classes[node.name] = node
            elif isinstance(node, ast.ImportFrom):
                # `from .x import A as B` is not followed: the name it declares is not B.
                file = _imported_file(node, path)
                imports |= {a.name: file for a in node.names if not a.asname}
        return cls(classes, imports)

    def of_name(self, name: str) -> _Class:
        return _Class(self.classes[name], self)

    def config(self, owner: _Class) -> _Class:
        """The class that `Config` means inside `owner`, its own or an inherited one."""
        for statement in owner.node.body:
            if isinstance(statement, ast.ClassDef) and statement.name == "Config":
                return _Class(statement, owner.source)
            if isinstance(statement, ast.Assign) and _name(statement.targets[0]) == "Config":
                return owner.source.resolve(statement.value)
            if isinstance(statement, ast.AnnAssign) and _name(statement.target) == "Config":
                if statement.value is None:
                    raise _Untold
                return owner.source.resolve(statement.value)
        if len(owner.node.bases) != 1:
            raise _Untold
        return self.config(owner.source.resolve(owner.node.bases[0]))

    def fields(self, config: _Class) -> frozenset[str]:
        if config.node.name == "MethodConfig":
            return frozenset()
        own = {
            _name(statement.target)
            for statement in config.node.body
            if isinstance(statement, ast.AnnAssign)
            and not ast.unparse(statement.annotation).startswith(("ClassVar", "typing.ClassVar"))
        }
        for base in config.node.bases:
            own |= self.fields(config.source.resolve(base))
        return frozenset(own - {""})

    def resolve(self, expression: ast.expr) -> _Class:
        """The class that an expression such as `Name` or `Name.Config` stands for."""
        if isinstance(expression, ast.Attribute) and expression.attr == "Config":
            return self.config(self.resolve(expression.value))
        name = _name(expression)
        if name in self.classes:
            return self.of_name(name)
        path = self.imports.get(name)
        if path is None or not path.is_file():
            raise _Untold
        source = _Source.of(path)
        if name not in source.classes:
            raise _Untold
        return source.of_name(name)


def _imported_file(node: ast.ImportFrom, path: Path) -> Path:
    """The file that defines what `from MODULE import NAME` names; it need not exist."""
    if node.module == "bench.distillation":  # re-exports the interface
        return PACKAGE / "distillation" / "interface.py"
    start = path.parents[node.level - 1] if node.level else SHIPPED
    return start / f"{(node.module or '').replace('.', '/')}.py"


def _name(expression: ast.expr) -> str:
    return expression.id if isinstance(expression, ast.Name) else ""
