"""What the README and the other pages show must work as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
import torch
from click.testing import CliRunner

from bench.cli.main import main
from bench.data.config import DATASET_FILE
from bench.paths import SHIPPED
from bench.registry import METHODS

README = SHIPPED / "README.md"
PAGES = [README, *sorted(SHIPPED.glob("docs/*.md")), *sorted(SHIPPED.glob("*/README.md"))]


def commands(page: Path) -> list[str]:
    """The lines of code blocks, fenced or indented, that call `bench`."""
    text = re.sub(r" \\\n +", " ", page.read_text(encoding="utf-8"))  # lines that go on
    fenced = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^ {4}.*$", text, re.MULTILINE)
    lines = [line.strip() for block in [*fenced, *indented] for line in block.splitlines()]
    return [line for line in lines if line.startswith("bench ")]


def files() -> dict[str, str]:
    """The configuration files that pages show whole, by their paths."""
    shown = r"^```yaml\n# (configs/\S+)\n(.*?)^```"
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    return dict(re.findall(shown, text, re.DOTALL | re.MULTILINE))


SHOWN = sorted({line for page in PAGES for line in commands(page)})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with what commands name: what pages show as files, and a place of records."""
    monkeypatch.chdir(tmp_path)
    Path("results", "reference").mkdir(parents=True)
    Path("copied", "results").mkdir(parents=True)
    monkeypatch.setattr(METHODS, "_found", {entry.name: entry for entry in METHODS})
    Path("my_method.py").write_text(example_method(), encoding="utf-8")
    for name, content in files().items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content, encoding="utf-8")


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("line", SHOWN)
def test_commands_and_options_that_are_shown_exist(line: str) -> None:
    command: click.Command | None = main
    arguments = shlex.split(line, comments=True)
    context = click.Context(main)
    while isinstance(command, click.Group):
        name, *arguments = arguments[1:] if command is main else arguments
        command = command.get_command(context, name)
        assert command is not None, f"no command {name}"
    command.make_context(line, arguments, parent=context)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("line", [line for line in SHOWN if line.startswith("bench run ")])
def test_names_and_settings_of_runs_that_are_shown_exist(line: str, tmp_path: Path) -> None:
    for name in ("shop", "industrial"):
        imported = tmp_path / "datasets" / name / "source" / DATASET_FILE
        imported.parent.mkdir(parents=True)
        imported.write_text("{}")
    done = CliRunner().invoke(main, [*shlex.split(line, comments=True)[1:], "--dry-run"])
    assert done.exit_code == 0, done.output


def test_the_pages_show_commands() -> None:
    assert {line.split()[1] for line in SHOWN} >= {"run", "report", "list", "data", "teacher"}


def example_method() -> str:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = (block for block in blocks if "@register_method" in block)
    return str(example)


def test_example_method_is_a_plugin_of_at_most_thirty_lines(tmp_path: Path) -> None:
    path = tmp_path / "my_method.py"
    path.write_text(example_method(), encoding="utf-8")
    (entry,) = METHODS.add_plugin(path)
    assert entry.needs == {"rankings"}
    assert len(example_method().splitlines()) <= 30

    method_class = METHODS.load(entry.name)
    method = method_class(method_class.Config(weight=2.0))
    method.attach(None, SimpleNamespace(rankings=torch.tensor([[3, 1], [2, 3], [1, 2]])))
    log_probs = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    output = SimpleNamespace(log_probs=lambda ids: log_probs.gather(1, ids))
    terms = method.loss(SimpleNamespace(row_id=torch.tensor([2, 0])), output)
    expected = -2.0 * (log_probs[0, 1] + log_probs[1, 3]) / 2
    assert terms["top_one"].item() == pytest.approx(expected.item())
