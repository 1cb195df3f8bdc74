"""What the tests of the command line share."""

from __future__ import annotations

from click.testing import CliRunner, Result

from bench.cli.main import main


def bench(*arguments: str) -> Result:
    """The command, called in this process."""
    return CliRunner().invoke(main, list(arguments))
