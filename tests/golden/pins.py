"""What the golden trials gave when they were pinned, and the command that pins them anew.

    python -m tests.golden.pins

Ranks are pinned bit for bit, so the trials run with the instructions that every x86-64 processor
of the last ten years has. `INSTRUCTIONS` holds torch's kernels, oneDNN, MKL and NumPy's OpenBLAS
to AVX2, and `_without_avx512` NumPy's own loops: with and without AVX-512 the bits are the same.
On processors of AMD and of Intel MKL takes other functions, and last bits differ. Ranks did not
where that was tried (an emulated Haswell), but they may: pins lie beside the hash of operations
(`trials.arithmetic`), so that a processor that rounds otherwise can have its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
PINS = HERE / "pins.json"
COMMAND = "python -m tests.golden.pins"

INSTRUCTIONS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def measured() -> dict[str, Any]:
    """Run all golden trials in a process of their own.

    Returns:
        `arithmetic` of this processor and `trials`: ranks and metrics by name.

    Raises:
        RuntimeError: the process failed, as opposed to a trial.
    """
    environment = os.environ | INSTRUCTIONS | _without_avx512()
    # The checkout that these tests belong to, whatever is installed.
    environment["PYTHONPATH"] = str(HERE.parent.parent)
    done = subprocess.run(  # noqa: S603 - this Python, a file beside this one
        [sys.executable, HERE / "trials.py"], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"the golden trials cannot run:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout)


def versions() -> dict[str, str]:
    """What computes beside the suite: pins hold for these versions."""
    return {name: version(name) for name in ("numpy", "recbole", "scipy", "torch")}


def read() -> dict[str, Any]:
    """The pins: `versions`, and `trials` by the arithmetic of processors."""
    return json.loads(PINS.read_text(encoding="utf-8"))


def pin(found: dict[str, Any]) -> None:
    """Write what was measured as the pins of this processor.

    Those of others stay for trials that give here what they gave before.

    Raises:
        RuntimeError: a trial failed; nothing is written.
    """
    failed = [name for name, gave in found["trials"].items() if "error" in gave]
    if failed:
        raise RuntimeError(f"golden trials failed: {', '.join(failed)}")
    pinned, here = read()["trials"], found["arithmetic"]
    before = pinned.get(here, found["trials"])
    same = {name for name, gave in found["trials"].items() if gave == before.get(name)}
    others = {
        arithmetic: {name: gave for name, gave in trials.items() if name in same}
        for arithmetic, trials in pinned.items()
    }
    pins = {"versions": versions(), "trials": others | {here: found["trials"]}}
    PINS.write_text(json.dumps(pins, indent=1) + "\n", encoding="utf-8")


def _without_avx512() -> dict[str, str]:
    """NumPy takes features to leave out by name, and only those that it found."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    beyond = [name for name in found if name.startswith(("AVX512", "X86_V4"))]
    return {"NPY_DISABLE_CPU_FEATURES": " ".join(beyond)} if beyond else {}


if __name__ == "__main__":
    pin(measured())
