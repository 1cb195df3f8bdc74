"""Methods of others in a process of their own each (`--isolate`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from bench.cli.main import main
from bench.paths import SHIPPED, Workspace
from bench.records.record import Record
from bench.records.store import ResultStore

PLUGIN = '''
import os
from torch import Tensor
from bench.evaluation import metrics
from bench.execution import trial
from bench.registry import register_method
from bench.distillation import Batch, Method, Output

trial.split_metrics = lambda **ranks: {{"valid": {{"ndcg@20": 1.0}}, "test": {{"ndcg@20": 1.0}}}}

@register_method("{name}")
class Mine(Method):
    """A method that changes the evaluation of its process."""
    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        {body}
        return {{}}
'''

COMMANDS = """
import sys
from pathlib import Path
from bench.cli.main import main

def bench(*arguments):
    main(list(arguments), standalone_mode=False)

RUN = ["run", "-d", "tiny", "-s", "tiny", "--device", "cpu", "--threads", "1"]
bench("list", "methods")
bench(*RUN, "-m", "none", "--dry-run")
assert not Path(sys.argv[1]).exists()
bench(*RUN, "-m", "theirs")
assert Path(sys.argv[1]).exists()
"""


def run(tiny: Workspace, results: str, *arguments: str) -> Result:
    fixed = ["run", "-d", "tiny", "-s", "tiny", "--device", "cpu", "--threads", "1"]
    return CliRunner().invoke(main, [*fixed, "--results", str(tiny.home / results), *arguments])


def trials(tiny: Workspace, results: str) -> dict[str, Record]:
    found = ResultStore(tiny.home / results).records()
    return {record.trial.method: record for record in found if record.trial is not None}


MEETS = """
        import pathlib, time
        here, there = (pathlib.Path({folder!r}, name) for name in ({name!r}, {other!r}))
        here.touch()
        until = time.monotonic() + 60
        while not there.exists():
            assert time.monotonic() < until, "alone"
            time.sleep(0.05)
        {then}
"""


def test_plug_ins_harm_themselves_alone_and_run_at_once(tiny: Workspace, tmp_path: Path) -> None:
    """One changes the evaluation when it is imported, one ends its process with success.

    Each waits for the other: they would fail if one ran after the other.
    """
    plugins = []
    for name, other, then in (("lies", "leaves", "pass"), ("leaves", "lies", "os._exit(0)")):
        body = MEETS.format(folder=str(tmp_path), name=name, other=other, then=then)
        path = tmp_path / f"{name}.py"
        path.write_text(PLUGIN.format(name=name, body=body))
        plugins += ["--plugin", str(path), "-m", name]
    done = run(tiny, "results", *plugins, "-m", "none", "--isolate", "--jobs", "2")
    assert done.exit_code == 1, done.stderr
    found = trials(tiny, "results")
    assert found["leaves"].status == "lost-worker", found["leaves"].error
    assert "alone" not in (found["lies"].error or "")
    assert run(tiny, "clean", "-m", "none").exit_code == 0
    assert found["none"].metrics == trials(tiny, "clean")["none"].metrics


def test_an_installed_package_is_imported_when_it_is_asked_for(
    tiny: Workspace, tmp_path: Path
) -> None:
    """Not at the start of every command, though it has a package around its module."""
    site = tmp_path / "site"
    package = site / "strangers" / "inner"
    package.mkdir(parents=True)
    flag = tmp_path / "imported"
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text(f"open({str(flag)!r}, 'a').write('x')\n")
    text = PLUGIN.format(name="theirs", body="pass").partition("trial.split_metrics")
    (package / "module.py").write_text(text[0] + text[2].partition("\n")[2])
    about = site / "strangers-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bench.methods]\ntheirs = strangers.inner.module\n")
    (site / "commands.py").write_text(COMMANDS)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "commands", str(flag)],
        cwd=SHIPPED,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SHIPPED), str(site)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "theirs" in done.stdout
