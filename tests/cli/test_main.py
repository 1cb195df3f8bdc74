"""The command line as a whole: quick, clear, nothing heavy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from bench import __version__
from bench.cli.main import COMMANDS, main
from bench.data.config import FIRST_TARGET, dataset_config
from bench.paths import SHIPPED, Workspace

HEAVY = {"torch", "numpy", "pandas", "pydantic", "recbole", "yaml", "scipy"}


def modules_after(code: str) -> set[str]:
    code = f"{code}\nimport sys; print('\\n' + ' '.join(sys.modules))"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=SHIPPED, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_imports_nothing_heavy() -> None:
    code = "from bench.cli.main import main; main(['--help'], standalone_mode=False)"
    assert not modules_after(code) & HEAVY


@pytest.mark.parametrize("module", ["bench.plan", "bench.config.grid", "bench.records.store"])
def test_planning_imports_no_torch(module: str) -> None:
    assert "torch" not in modules_after(f"import {module}")


def test_every_command_in_the_table_exists() -> None:
    for name in COMMANDS:
        done = CliRunner().invoke(main, [name, "--help"])
        assert done.exit_code == 0, f"{name}: {done.output}"


@pytest.mark.parametrize(
    "command",
    ["run", "tune", "data prepare", "data info", *(f"teacher {c}" for c in ("build", "import"))],
)
def test_help_names_every_protocol(command: str) -> None:
    told = CliRunner().invoke(main, [*command.split(), "--help"]).stdout
    assert all(name in told for name in FIRST_TARGET), told


def test_the_help_of_a_command_imports_no_torch_and_no_configuration() -> None:
    for command in (["run"], ["data", "info"], ["teacher", "check"], ["list"]):
        line = [*command, "--help"]
        code = f"from bench.cli.main import main; main({line}, standalone_mode=False)"
        assert not modules_after(code) & HEAVY


def test_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).stdout == f"bench, version {__version__}\n"


TEXT = "0.1 ± 0.2 · – é 漢"  # noqa: RUF001


def said_under(encoding: str, terminal: bool) -> bytes:
    """What reaches a file, or a terminal, of a text printed by a command."""
    code = f"from bench.cli import streams; streams.widen(); print({TEXT!a})"
    ours, theirs = os.openpty() if terminal else os.pipe()
    subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        stdout=theirs,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=True,
    )
    os.close(theirs)
    return os.read(ours, 1000).rstrip()


@pytest.mark.parametrize("encoding", ["cp437", "cp850", "cp932", "cp949", "latin-1", "ascii"])
def test_what_is_printed_reaches_any_code_page(encoding: str) -> None:
    assert said_under(encoding, terminal=False).decode("utf-8") == TEXT
    shown = said_under(encoding, terminal=True).decode(encoding)
    assert shown.startswith("0.1 ") and len(shown) <= len(TEXT) + 1
    if encoding == "ascii":
        assert shown == "0.1 +- 0.2 - - e ?"


def test_a_page_under_a_narrow_code_page_is_what_it_says() -> None:
    reference = str(SHIPPED / "results" / "reference")
    line = ["report", "--results", reference, "-d", "movielens", "-m", "none", "--format", "html"]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "bench", *line],
        env={**os.environ, "PYTHONIOENCODING": "cp932"},
        capture_output=True,
        check=True,
    )
    page = done.stdout.decode("utf-8")
    assert 'charset="utf-8"' in page and "\N{PLUS-MINUS SIGN}" in page


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("line", [["--version"], ["list", "methods"], ["run", "--help"]])
def test_a_full_disk_is_no_fault_of_the_suite(line: list[str]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "bench", *line], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (2, "Error: No space left on device\n")


def test_a_home_that_cannot_be_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for home in ("~nobody-of-this-name/x", str(tmp_path / "loop"), f"/{'a' * 5000}"):
        monkeypatch.setenv("BENCH_HOME", home)
        done = CliRunner().invoke(main, ["list", "datasets"])
        assert done.exit_code == 2
        assert done.stderr.startswith(f"Error: BENCH_HOME={home[:200]} cannot be used: ")


TITLE = "\x1b]0;owned\x07"
"""What sets the title of a terminal's window."""


def test_names_in_data_reach_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"user,{TITLE}\n1,2\n")
    for line in (
        ["data", "import", "shop", str(path)],
        ["data", "import", "shop", str(tmp_path / TITLE)],
        ["run", "--method", "none", "--dataset", TITLE],
        [TITLE],
        ["run", "--method", "none", "--dataset", "movielens", "--seeds", TITLE],
    ):
        done = CliRunner().invoke(main, line)
        assert done.exit_code == 2
        assert "\x1b" not in done.output and "\x07" not in done.output
        assert "\\u001b]0;owned\\u0007" in done.output


def test_a_message_is_cut_to_a_screen(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(",".join(f"column{n}" for n in range(100_000)) + "\n")
    done = CliRunner().invoke(main, ["data", "import", "shop", str(path)])
    assert done.exit_code == 2 and len(done.stderr) < 3000
    assert "no column for the user" in done.stderr


def test_an_unknown_command_offers_the_nearest() -> None:
    done = CliRunner().invoke(main, ["rnu"])
    assert done.exit_code == 2
    assert "Did you mean 'run'?" in done.stderr


@pytest.mark.parametrize("kind", ["methods", "datasets", "students", "teachers", "suites"])
def test_lists_have_names_and_summaries(kind: str) -> None:
    done = CliRunner().invoke(main, ["list", kind, "--format", "json"])
    assert done.exit_code == 0, done.output
    entries = json.loads(done.stdout)
    assert entries
    assert all(entry["name"] and entry["summary"] for entry in entries)
    text = CliRunner().invoke(main, ["list", kind]).stdout
    assert len(text.splitlines()) == len(entries) + 1


def test_a_list_of_methods_tells_needs_and_variants() -> None:
    done = CliRunner().invoke(main, ["list", "methods", "--format", "json"])
    methods = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert methods["none"]["needs"] == []
    assert methods["dllm2rec"]["needs"] == ["embeddings", "rankings"]
    assert {"official_code", "paper"} <= set(methods["dllm2rec"]["variants"])


def test_results_are_an_empty_list_before_the_first_run() -> None:
    done = CliRunner().invoke(main, ["list", "results", "--format", "json"])
    assert json.loads(done.stdout) == []


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    suites = tmp_path / "configs" / "suites"
    suites.mkdir(parents=True)
    (suites / "mine.yaml").write_text("methods: [none]\nmethods: [dllm2rec]\n")
    done = CliRunner().invoke(main, ["run", "--suite", "mine"])
    assert done.exit_code == 2
    assert f"{suites / 'mine.yaml'}: line 2: key 'methods' is written twice" in done.stderr


def _flags() -> list[str]:
    """What Linux says that an x86 processor can do; empty elsewhere."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return next((line.split() for line in lines if line.startswith("flags")), [])


def test_the_doctor_tells_what_is_there_and_what_to_do(tiny: Workspace) -> None:
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 0, done.output
    assert "recbole: works" in done.stdout
    instructions = next(line for line in done.stdout.splitlines() if "instructions: " in line)
    assert f"instructions: {torch.backends.cpu.get_cpu_capability()}, " in instructions
    if flags := _flags():
        assert ("bfloat16 by" in instructions and "avx512_bf16" in instructions) == (
            "avx512_bf16" in flags
        )
    assert "other datasets: " in done.stdout
    assert "bench data prepare NAME" in done.stdout
    assert len(done.stdout.splitlines()) < 40
    assert CliRunner().invoke(main, ["data", "prepare", "tiny"]).exit_code == 0
    done = CliRunner().invoke(main, ["doctor"])
    assert "ok       dataset tiny: prepared under temporal-10" in done.stdout
    assert "other teachers of tiny: not built (bench run does): " in done.stdout


def configure(workspace: Workspace, kind: str, **contents: str) -> Path:
    """The folder of a workspace's files of a kind, with those of some names written."""
    folder = workspace.home / "configs" / kind
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / f"{name}.yaml").write_text(content)
    return folder


def test_a_broken_file_of_ones_own_hides_no_other(tmp_path: Path) -> None:
    for kind in ("suites", "students", "teachers", "datasets"):
        configure(Workspace(tmp_path), kind, mine="\tx")
        done = CliRunner().invoke(main, ["list", kind])
        assert done.exit_code == 0 and len(done.stdout.splitlines()) > 3
        assert "left out 'mine': " in done.stderr and "line 1" in done.stderr


def test_the_doctor_goes_on_past_a_dataset_that_is_broken(tiny: Workspace) -> None:
    assert CliRunner().invoke(main, ["data", "prepare", "tiny"]).exit_code == 0
    folder = configure(tiny, "datasets", garbled="summary: [\n", older="sumary: none\n")
    slug = dataset_config("movielens", tiny).protocol.slug
    damaged = tiny.datasets / "movielens" / slug / "data.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 0, done.output
    assert f"dataset garbled: {folder / 'garbled.yaml'}: line " in done.stdout
    assert f"dataset older: {folder / 'older.yaml'}: unknown key 'sumary'" in done.stdout
    assert f"dataset movielens: {damaged}: cannot be read" in done.stdout
    assert "ok       dataset tiny: prepared under temporal-10" in done.stdout
    assert "other teachers of tiny: " in done.stdout


def test_the_doctor_goes_on_past_a_teacher_that_is_broken(tiny: Workspace) -> None:
    assert CliRunner().invoke(main, ["data", "prepare", "tiny"]).exit_code == 0
    folder = configure(tiny, "teachers", garbled="kind: [\n", older="knd: text\n")
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 0, done.output
    assert f"-        teacher garbled: {folder / 'garbled.yaml'}: line " in done.stdout
    assert f"-        teacher older: {folder / 'older.yaml'}: " in done.stdout
    (last,) = (line for line in done.stdout.splitlines() if "other teachers of tiny: " in line)
    assert "garbled" not in last and "older" not in last


def test_the_doctor_fails_where_nothing_could_run(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder should be")
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 1
    assert "MISSING  results" in done.stdout
