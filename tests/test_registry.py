"""What a method's file says of itself, and what happens where it says it badly."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bench import registry, source
from bench.errors import ConfigError, UnknownNameError
from bench.paths import PACKAGE, SHIPPED, shipped
from bench.registry import METHODS, Entry, MethodEntry, Registry, SourceRegistry
from bench.signals import SIGNALS
from bench.teachers.registry import KINDS

GOOD = '@register_method("good", needs={"rankings"})\nclass Good(Method):\n    """Good."""\n'

BAD = {
    "computed name": ("NAME = 'x'\n@register_method(NAME)\nclass A: ...\n", "line 2: .*name"),
    "unknown argument": (
        "@register_method('x', need={'rankings'})\nclass A: ...\n",
        "line 1: .*unknown argument 'need'. Did you mean 'needs'",
    ),
    "not for the decorator": ("@register_method('x', path='y')\nclass A: ...\n", "line 1: .*path"),
    "two classes of one name": (
        "@register_method('x')\nclass A: ...\n@register_method('y')\nclass A: ...\n",
        "line 1: .*later class .* A too",
    ),
    "number": ("@register_method(1)\nclass A: ...\n", "line 1: .*name"),
    "no name": ("\n@register_method()\nclass A: ...\n", "line 2: .*name"),
    "keyword": ("@register_method(name='x')\nclass A: ...\n", "line 1: .*name"),
    "computed needs": ("@register_method('x', needs=set(N))\nclass A: ...\n", "line 1: .*needs"),
    "text as needs": ("@register_method('x', needs='rankings')\nclass A: ...\n", "line 1: .*needs"),
    "nested needs": ("@register_method('x', needs={[]})\nclass A: ...\n", "line 1: .*needs"),
    "signal": (
        "@register_method('x', needs={'ranking'})\nclass A: ...\n",
        "line 1: .*unknown signal 'ranking'. Did you mean 'rankings'",
    ),
    "colon in the name": ("@register_method('a:b')\nclass A: ...\n", "line 1: .*kebab-case"),
    "no Python": ("x = 1\nclass A(:\n", "line 2: "),
    "not UTF-8": (b"# caf\xe9\n", "cannot be read as UTF-8 Python"),
    "null byte": (b"x = '\0'\n", ""),
}


def registry_of(folder: Path) -> SourceRegistry[type, MethodEntry]:
    """Methods of a folder, which are imported as any class."""
    return SourceRegistry("method", MethodEntry, "builtins:object", "method", folder)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("content", "says"), BAD.values(), ids=BAD.keys())
def test_a_broken_plug_in_is_refused(tmp_path: Path, content: str | bytes, says: str) -> None:
    path = write(tmp_path / "mine.py", content)
    with pytest.raises(ConfigError, match=f"^{path}: {says}"):
        registry_of(tmp_path / "methods").add_plugin(path)


@pytest.mark.parametrize(("content", "says"), BAD.values(), ids=BAD.keys())
def test_a_broken_method_of_the_tree_leaves_the_others(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    content: str | bytes,
    says: str,
) -> None:
    path = write(tmp_path / "methods" / "broken.py", content)
    write(tmp_path / "methods" / "good.py", GOOD)
    monkeypatch.setattr(registry, "SHIPPED", tmp_path)
    monkeypatch.setattr(registry, "entry_points", lambda group: [])
    methods = registry_of(tmp_path / "methods")
    assert [(entry.name, entry.needs) for entry in methods] == [("good", {"rankings"})]
    (warning,) = caplog.messages
    assert warning.startswith(f"left out: {path}: ")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "nowhere"),
        ({"pack/__init__.py": "", "pack/own.py": "class A(:\n"}, "own.py: line 1: "),
        ({"pack/__init__.py": ""}, "there is no module"),
    ],
)
def test_a_broken_entry_point_leaves_the_others(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    files: dict[str, str],
    says: str,
) -> None:
    # A name of its own for each case: Python remembers what it has imported.
    package = tmp_path.name
    for name, content in files.items():
        write(tmp_path / name.replace("pack", package), content)
    module = f"{package}.own" if files else "nowhere.own"
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("mine", module, "bench.methods")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    methods = registry_of(shipped("methods"))
    assert "none" in {entry.name for entry in methods}
    (warning,) = caplog.messages
    assert warning.startswith("left out: ") and says in warning


def test_a_package_is_not_imported_before_a_method_of_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path.name
    write(tmp_path / package / "__init__.py", "1 / 0\n")
    write(tmp_path / package / "own.py", GOOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("mine", f"{package}.own", "bench.methods")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    methods = registry_of(shipped("methods"))
    assert "good" in methods.names() and package not in sys.modules
    with pytest.raises(ConfigError, match="division by zero"):
        methods.load("good")


def test_a_warning_goes_to_stderr_alone(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from bench import registry\n"
        f"registry.SHIPPED = Path({str(tmp_path)!r})\n"
        "registry.METHODS._folder = registry.SHIPPED / 'methods'\n"
        "registry.METHODS.names()"
    )
    write(tmp_path / "methods" / "broken.py", "class A(:\n")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=SHIPPED, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert "left out: " in done.stderr and "broken.py: line 1: " in done.stderr


def test_a_method_whose_helper_is_broken_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "SHIPPED", tmp_path)
    monkeypatch.setattr(source, "shipped", lambda name: tmp_path / name)
    helper = write(tmp_path / "methods" / "helper.py", "x = (\n")
    path = write(tmp_path / "mine.py", f"from methods.helper import x\n{GOOD}")
    (entry,) = registry_of(tmp_path / "none").add_plugin(path)
    with pytest.raises(ConfigError, match=f"^{helper}: line 1: "):
        _ = entry.code_digest


@pytest.mark.parametrize(
    ("statement", "helper"),
    [
        ("from mine.losses import x", "losses.py"),
        ("from mine import losses", "losses.py"),
        ("import mine.deep.losses", "deep/losses.py"),
        ("from .losses import x", "losses.py"),
        ("from . import losses", "losses.py"),
        ("from .deep.losses import x", "deep/losses.py"),
        ("from mine import x", "__init__.py"),
        ("from . import losses", "__init__.py"),
        ("from .deep.losses import x", "deep/__init__.py"),
    ],
)
def test_the_rest_of_a_plug_ins_package_is_part_of_its_code(
    tmp_path: Path, statement: str, helper: str
) -> None:
    package = tmp_path / "mine"
    for folder in (package, package / "deep"):
        write(folder / "__init__.py", "")
    path = write(package / "method.py", f"{statement}\n{GOOD}")
    digests = set()
    for body in ("x = 1\n", "x = 2\n"):
        write(package / helper, body)
        (entry,) = registry_of(tmp_path / "none").add_plugin(path)
        digests.add(entry.code_digest)
    assert len(digests) == 2


def test_an_installation_has_the_methods_of_a_checkout(tmp_path: Path) -> None:
    """In a wheel `methods` lies inside `bench`: same names, same identities, other modules."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "bench", ignore=ignored)
    shutil.copytree(shipped("methods"), tmp_path / "bench" / "methods", ignore=ignored)
    code = (
        "from bench.registry import METHODS\n"
        "for e in METHODS: print(e.name, e.code_digest, e.target)"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        f"{entry.name} {entry.code_digest} bench.{entry.target}"
        for entry in METHODS
        if entry.is_shipped
    ]


def test_what_lies_outside_of_packages_is_not(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", f"import losses\n{GOOD}")
    digests = set()
    for body in ("x = 1\n", "x = 2\n"):
        write(tmp_path / "losses.py", body)
        (entry,) = registry_of(tmp_path / "none").add_plugin(path)
        digests.add(entry.code_digest)
    assert len(digests) == 1


def test_a_plug_in_that_fails_says_why_every_time(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.py",
        "from bench.registry import register_method\nfrom bench.distillation import Method\n"
        '@register_method("fails-when-run")\nclass Mine(Method): ...\n1 / 0\n',
    )
    (entry,) = METHODS.add_plugin(path)
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"from {path}: ZeroDivisionError: division"):
            METHODS.load(entry.name)
    write(path, path.read_text().replace("1 / 0\n", ""))
    assert METHODS.load(entry.name).__name__ == "Mine"


def test_methods_can_need_what_teachers_can_offer() -> None:
    assert set().union(*(kind.signals | kind.optional for kind in KINDS)) >= set(SIGNALS)


def test_one_name_for_two_classes_of_a_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", f"{GOOD}{GOOD.replace('class Good', 'class Better')}")
    methods = registry_of(tmp_path / "none")
    with pytest.raises(ConfigError, match=f"^two methods are called 'good': {path}$"):
        methods.add_plugin(path)
    assert list(methods) == []


def test_one_name_in_two_files_is_refused_and_the_same_file_is_not(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, GOOD) for name in ("first.py", "second.py"))
    methods = registry_of(tmp_path / "none")
    assert methods.add_plugin(first) == methods.add_plugin(first)
    with pytest.raises(ConfigError, match=f"are called 'good': {first} and {second}$"):
        methods.add_plugin(second)
    assert [entry.path for entry in methods] == [first]


def test_a_thing_is_imported_when_it_is_loaded(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path / "late_one.py", "class Late: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    things: Registry[type, Entry] = Registry("thing", Entry)
    things.register("late", "late_one:Late")
    things.register("here", dict)
    things.register("broken", "late_one:Later")
    assert things.names() == ["broken", "here", "late"] and "late_one" not in sys.modules
    assert things.get("late").origin == "late_one:Late" and "late_one" not in sys.modules
    assert things.load("late").__name__ == "Late" and things.load("here") is dict
    with pytest.raises(
        ConfigError, match=r"^thing 'broken' cannot be imported from late_one:Later"
    ):
        things.load("broken")
    with pytest.raises(UnknownNameError, match=r"unknown thing 'lat'. Did you mean 'late'"):
        things.load("lat")


def test_a_name_stands_for_one_thing() -> None:
    things: Registry[type, Entry] = Registry("thing", Entry)
    for _ in range(2):
        things.register("one", dict)
    with pytest.raises(ConfigError, match=r"^two things are called 'one': .*dict.* and m:other$"):
        things.register("one", "m:other")
    assert things.load("one") is dict


def test_what_is_not_derived_from_the_base_is_refused() -> None:
    things: Registry[type, Entry] = Registry("thing", Entry, "pathlib:PurePath")
    things.register("path", Path)
    things.register("text", str)
    assert things.load("path") is Path
    with pytest.raises(ConfigError, match=r"'text' .*class str is no pathlib.PurePath; derive"):
        things.load("text")


def test_a_plug_in_is_not_run_to_be_known(tmp_path: Path) -> None:
    (entry,) = registry_of(tmp_path / "no").add_plugin(write(tmp_path / "a.py", f"1 / 0\n{GOOD}"))
    assert entry.name == "good" and entry.is_plugin and not entry.is_shipped
    assert all(entry.is_shipped and not entry.is_plugin for entry in METHODS)
