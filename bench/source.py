"""What source text tells without being run: decorated classes, and the identity of code."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import limits
from bench.errors import ConfigError, DataError
from bench.paths import PACKAGE, SHIPPED, shipped

_KERNELS = PACKAGE / "distillation"
_INTERFACE = (_KERNELS / "__init__.py", _KERNELS / "interface.py")


@dataclass(frozen=True)
class Decorated:
    """A class of a file under a decorator `@DECORATOR(name, argument=...)`.

    Attributes:
        attribute: name of the class.
        line: of the decorator.
        summary: first line of the docstring.
        name: first argument of the decorator, of any type.
        arguments: its other arguments, by name.
    """

    attribute: str
    line: int
    summary: str
    name: Any
    arguments: dict[str, Any]


def decorated_classes(path: Path, decorator: str) -> Iterator[Decorated]:
    """The classes of a file that are decorated with `decorator`, which takes literals alone.

    Raises:
        ConfigError: the file cannot be read, or an argument is not a literal.
    """
    with _followed(path):
        yield from _decorated(path, decorator)


def _decorated(path: Path, decorator: str) -> Iterator[Decorated]:
    classes = [node for node in tree_of(path).body if isinstance(node, ast.ClassDef)]
    last = {node.name: node for node in classes}
    for node in classes:
        for call in node.decorator_list:
            if not isinstance(call, ast.Call) or not ast.unparse(call.func).endswith(decorator):
                continue
            where = f"{path}: line {call.lineno}: {decorator}"
            if last[node.name] is not node:
                raise ConfigError(f"{where}: a later class of the file is called {node.name} too")
            if len(call.args) != 1:
                raise ConfigError(f'{where} takes one name: write {decorator}("my-name", ...)')
            yield Decorated(
                attribute=node.name,
                line=call.lineno,
                summary=(ast.get_docstring(node) or "").partition("\n")[0],
                name=_literal(call.args[0], f"{where}: the name"),
                arguments={
                    str(keyword.arg): _literal(keyword.value, f"{where}: {keyword.arg}")
                    for keyword in call.keywords
                },
            )


def _literal(node: ast.expr, what: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{what} is read without being run: write it as a literal, such as 'text' or {{'text'}}"
        ) from error


def code_digest(path: Path) -> str:
    """SHA-256 of what a file computes, comments, docstrings and layout apart.

    Covers what it imports of `methods`, of its own package and of the kernels in
    `bench.distillation`, and what they import. The interface computes nothing and is left out.

    Raises:
        ConfigError: one of them cannot be read.
    """
    digest = hashlib.sha256()
    pending, seen = [path], {path}
    while pending:
        file = pending.pop()
        tree = tree_of(file)
        for imported in _imported_files(tree, file):
            if imported not in seen:
                seen.add(imported)
                pending.append(imported)
        with _followed(file):
            shape = _shape(tree)
        digest.update(shape.encode())
    return digest.hexdigest()


def _imported_files(tree: ast.AST, path: Path) -> Iterator[Path]:
    """Files that a module imports from its own package, from `methods` and of the kernels."""
    own = [] if PACKAGE in path.parents else _package(path)  # of a plug-in's package
    homes = [_KERNELS, shipped("methods"), *own]
    starts = [SHIPPED, *(home.parent for home in own)]
    for node in ast.walk(tree):
        for start, module in _imported_modules(node, path, starts):
            place = start / module.replace(".", "/")
            faces = (folder / "__init__.py" for folder in (place, *place.parents))
            files = [place.with_name(f"{place.name}.py"), *faces]
            ours = [f for f in files if f.is_file() and any(home in f.parents for home in homes)]
            yield from (f for f in ours if f not in _INTERFACE and not _says_nothing(f))


def _says_nothing(file: Path) -> bool:
    """Whether a file is the face of a package with a docstring at most."""
    return file.name == "__init__.py" and all(map(_is_docstring, tree_of(file).body))


def _imported_modules(node: ast.AST, path: Path, starts: list[Path]) -> Iterator[tuple[Path, str]]:
    """Modules that an import statement may mean, as dotted names below a folder."""
    names: list[str] = []
    if isinstance(node, ast.ImportFrom):
        inside = f"{node.module}." if node.module else ""
        names = [node.module] if node.module else []
        names += [f"{inside}{alias.name}" for alias in node.names]
        if node.level:
            starts = [path.parents[node.level - 1]]
    elif isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    yield from ((start, name) for name in names for start in dict.fromkeys(starts))


def _package(path: Path) -> list[Path]:
    """The folder of the outermost package that a file belongs to; none outside of packages."""
    inside = itertools.takewhile(lambda f: (f / "__init__.py").is_file(), path.parents)
    return list(inside)[-1:]


def _shape(node: object) -> str:
    """What a syntax tree says, the same on every Python, which `ast.dump` is not.

    Left out are docstrings, fields that are empty, and the empty strings that some releases find
    in an f-string.
    """
    if isinstance(node, list):
        return f"[{','.join(_shape(item) for item in node if not _is_docstring(item))}]"
    if isinstance(node, ast.JoinedStr):
        parts = [part for part in node.values if getattr(part, "value", None) != ""]
        return f"JoinedStr({_shape(parts)})"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    inner = ",".join(f"{name}={_shape(value)}" for name, value in fields if name != "kind")
    return f"{type(node).__name__}({inner})"


def _is_docstring(node: object) -> bool:
    """Whether a statement is a bare string, which computes nothing."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        ConfigError: it is no UTF-8 Python, larger than a source is, or nested deeper than can be
            followed; tells file and line.
    """
    try:
        text = limits.read_whole(path, limits.SOURCE).decode()
        with _followed(path):
            return ast.parse(text, str(path))
    except SyntaxError as error:
        raise ConfigError(f"{path}: line {error.lineno}: {error.msg}") from error
    except (DataError, OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 Python: {error}") from error


@contextlib.contextmanager
def _followed(path: Path) -> Iterator[None]:
    """Tell of expressions that are nested deeper than Python can follow."""
    try:
        yield
    except (RecursionError, MemoryError) as error:
        raise ConfigError(f"{path}: holds expressions that are nested too deep") from error
