"""`bench doctor --locks` tells locks that hold from such as hold on one node alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from bench.cli.main import main
from bench.paths import SHIPPED

NODE = """
import fcntl, platform, sys
platform.node = lambda: sys.argv[1]
if sys.argv[3] == "alone":
    fcntl.lockf = lambda *_: None  # every node is granted its own
from bench.cli.main import main
main(["doctor", "--locks", sys.argv[2]])
"""


def asked(place: Path, how: str) -> list[tuple[int, str]]:
    """What two nodes are told that ask at the same time."""
    nodes = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", NODE, name, str(place), how],
            cwd=SHIPPED,
            env=os.environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    return [(node.returncode, told) for node in nodes for told in [node.communicate()[0]]]


def test_locks_that_hold(tmp_path: Path) -> None:
    for (status, told), other in zip(asked(tmp_path, "well"), ("two", "one"), strict=True):
        assert status == 0, told
        assert "byte-range locks" in told
        assert f"they hold between here and {other}" in told
    assert list(tmp_path.iterdir()) == []


def test_locks_that_hold_on_one_node_alone(tmp_path: Path) -> None:
    told = asked(tmp_path, "alone")
    assert 1 in {status for status, _ in told}
    assert any("they do not hold between here and" in text for _, text in told)


def test_a_node_that_asks_alone_is_told_how_to_ask(tmp_path: Path) -> None:
    told = CliRunner().invoke(main, ["doctor", "--locks", str(tmp_path)])
    assert told.exit_code == 0
    assert "not known" in told.output and "srun -N2" in told.output
