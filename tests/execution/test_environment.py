"""What a record says of the machine."""

import json
import platform
import re
from pathlib import Path

import pytest
import torch

from bench import __version__
from bench.execution.environment import capture, versions


def test_an_environment_names_what_a_result_depends_on() -> None:
    found = capture("cpu", threads=1)
    assert found["bench"] == __version__
    assert found["python"] == platform.python_version()
    assert found["threads"] == 1
    assert found["packages"]["torch"] and found["packages"]["recbole"]
    assert found["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert platform.node() not in json.dumps(found), "a record does not tell whose machine it was"


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="Linux tells its processors so")
def test_processors_of_one_name_are_told_apart() -> None:
    told = Path("/proc/cpuinfo").read_text()
    name = capture("cpu", threads=1)["device_name"]
    for fact in ("model name", "cpu family", "model"):
        found = re.search(rf"^{fact}\s*: (.+)$", told, re.MULTILINE)
        assert found is None or found[1] in name


def test_versions_of_what_is_not_installed_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.execution.environment.PACKAGES", ("numpy", "no-such-package"))
    found = versions()
    assert found["numpy"] and found["no-such-package"] is None
