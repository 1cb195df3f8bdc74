"""What long work shows: bars and log lines on a terminal, plain lines elsewhere."""

import io
import logging
import re
import subprocess
import sys
import time

import pytest

from bench import display, progress
from bench.display import shown
from bench.paths import SHIPPED
from bench.progress import task, track

DRAWN = 0.5
"""Seconds within which bars are drawn again."""

_logger = logging.getLogger("bench.test")


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        return True


def to_terminal(monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> Terminal:
    """Make stderr one. No fixture: pytest sets stderr anew when a test begins."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    for name, value in {"TERM": "xterm", "COLUMNS": str(columns), "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    return stream


def lines(text: str) -> list[str]:
    """What was written, without the codes that move and colour."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "\n").splitlines()


def test_a_terminal_shows_bars_and_the_lines_above_them(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = to_terminal(monkeypatch)
    with shown(), task("none seed 0"), track("", 30, "epochs", logged=False) as advance:
        _logger.info("starts on cpu")
        _logger.debug("epoch 1: said by the bar")
        advance(12)
        time.sleep(DRAWN)
    written = lines(terminal.getvalue())
    assert "none seed 0: starts on cpu" in [line.rstrip() for line in written]
    assert any(line.startswith("none seed 0 ") and "12/30 epochs" in line for line in written)
    assert not any("said by the bar" in line for line in written)
    assert all(len(line) <= 80 for line in written)


@pytest.mark.parametrize("total", [None, 5_000_000])
def test_bytes_are_told_in_megabytes(monkeypatch: pytest.MonkeyPatch, total: int | None) -> None:
    terminal = to_terminal(monkeypatch)
    with shown(), track("a.zip", total, "bytes", logged=False) as advance:
        advance(2_000_000)
        time.sleep(DRAWN)
    assert f"2{'/5' if total else ''} MB" in terminal.getvalue()


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_what_does_not_fit_is_cut_not_wrapped(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    terminal = to_terminal(monkeypatch, columns)
    with shown(), track("a very long name " * 9, 10, "trials", logged=False):
        pass
    drawn = [line for line in lines(terminal.getvalue()) if line.strip()]
    assert drawn and all(len(line) <= columns for line in drawn)
    assert all("0/10 trials" in line for line in drawn)


def test_elsewhere_all_lines_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(), task("none seed 0"), track("", 30, "epochs", logged=False) as advance:
        _logger.debug("epoch 1: loss 2.0")
        advance(1)
    _logger.info("nobody is shown this")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "none seed 0: epoch 1: loss 2.0\n")


def test_afterwards_all_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    to_terminal(monkeypatch)
    with pytest.raises(RuntimeError), shown(), track("work", 3):
        assert progress.has_display()
        raise RuntimeError
    assert not progress.has_display()
    assert not any(isinstance(h, display.Display) for h in logging.getLogger("bench").handlers)


def test_help_imports_nothing_that_draws() -> None:
    code = (
        "import sys; from bench.cli.main import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print(sorted({'rich', 'torch', 'pandas', 'recbole'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=SHIPPED, capture_output=True, text=True
    )
    assert done.stderr == "[]\n"
