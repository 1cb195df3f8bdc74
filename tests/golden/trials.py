"""Short trials, run as a user runs them, and what they gave.

This is the only file of the golden tests that knows the suite: its commands, the folder of a
teacher and the files of a record. `pins.py` starts it as a program of its own, with the variables
that fix the CPU's instructions, which are read when torch and NumPy are imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.cli.main import main

DATASET, TEACHER = "synthetic-golden", "made"

COUNTING = {
    "kind": "ensemble",
    "options": {
        "list_length": 30,
        "members": {
            "item-knn": {"model": "ItemKNN", "parameters": {"popularity": 0.1}},
            "markov": {"model": "MarkovChain", "parameters": {"popularity": 0.5}},
        },
    },
}
TEXT = {"kind": "text", "options": {"epochs": 1}}
SMALL = {"hidden_size": 16, "inner_size": 32, "n_layers": 1}
SASREC = {
    "kind": "ensemble",
    "options": {"max_epochs": 1, "members": {"sasrec": {"parameters": SMALL}}},
}

CONFIGS = {
    # As `synthetic-small`, a seventh of its size.
    f"datasets/{DATASET}.yaml": {
        "source": "synthetic",
        "synthetic": {"users": 150, "items": 120, "interactions": 1500},
        "protocol": {"name": "temporal", "history": 10, "first_target": 1},
    },
    "teachers/counting.yaml": COUNTING,
    "teachers/mixed.yaml": {
        "kind": "mix",
        "options": {"parts": {"text": TEXT, "sasrec": SASREC, "counting": COUNTING}},
    },
    "teachers/preferences.yaml": {
        "kind": "learn",
        "options": {"pretrain_epochs": 1, "epochs": 1},
    },
}

PLAIN = ("cd", "de", "ftd", "hetcomp", "hint", "htd", "rrd", "unkd")
"""Methods that are pinned at the defaults of their classes, not at what a search found since."""

OBJECTIVES = ("bpr", "bce", "dros")
"""Beside `ce`, which all other trials train with."""

RUNS = (
    "--method all --teacher made",
    "--method dllm2rec --method hetcomp --teacher made --control shuffled",
    "--method dllm2rec:official_code --teacher made --set training.objective=dros",
    "--method dllm2rec:paper --teacher made --set training.objective=bce",
    *(f"--method none --method rd --teacher made --set training.objective={o}" for o in OBJECTIVES),
    "--method none --student all --set student.embedding_size=16 --set student.block_num=1",
    "--method none --method dllm2rec --teacher planted --set training.positions=all",
    "--method rd --teacher counting --teacher mixed --teacher preferences",
)
"""Arguments of `bench run`; a trial that several ask for runs once."""

SHORT = (
    "training.max_epochs=2",
    "training.min_epochs=1",
    "training.batch_size=64",
    "training.learning_rate=0.005",
    "student.hidden_size=16",
    "student.inner_size=32",
    "student.n_layers=1",
)


def measured() -> dict[str, Any]:
    """Ranks and metrics of every trial and reference, by a name for people."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["BENCH_HOME"] = folder
        for name, config in CONFIGS.items():
            path = home / "configs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"summary": "golden", **config}), encoding="utf-8")
        for name in PLAIN:
            path = home / "configs" / "methods" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("settings: {}\n", encoding="utf-8")
        make_teacher(home / "tocf" / DATASET)
        for run in RUNS:
            short = [word for setting in SHORT for word in ("--set", setting)]
            bench("run", *run.split(), *short, "--dataset", DATASET, "--threads", "1")
        return dict(sorted(outcomes(home / "results")))


def bench(*arguments: str) -> None:
    """One command of the suite; what it prints goes to the standard error.

    A trial that fails (exit code 1) has its record, like the others.
    """
    with contextlib.redirect_stdout(sys.stderr):
        code = main([*arguments, "--device", "cpu"], standalone_mode=False)
    if code and code != 1:
        sys.exit(code)


def make_teacher(folder: Path) -> None:
    """One teacher with every signal, from the files of two that the suite builds."""
    for name in ("planted", "counting"):
        bench("teacher", "build", "--dataset", DATASET, "--teacher", name, "--threads", "1")
    made = folder / TEACHER
    shutil.copytree(folder / "planted", made)
    shutil.copy(folder / "counting" / "trajectories.npy", made)
    distances = np.load(made / "distances.npy")
    np.save(made / "truth_distance.npy", distances[:, 3].copy())
    histories = np.random.default_rng(0).standard_normal((len(distances), 16), dtype=np.float32)
    np.save(made / "histories.npy", histories)
    counting, manifest = (
        json.loads((folder / name / "teacher.json").read_text()) for name in ("counting", "planted")
    )
    manifest |= {
        "name": TEACHER,
        "signals": [
            *("embeddings", "rankings", "confidence", "truth-distance", "histories"),
            "trajectories",
        ],
        "members": counting["members"],
        "files": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(made.iterdir())
            if path.name in manifest["files"]
            or path.stem in ("truth_distance", "histories", "trajectories")
        },
    }
    (made / "teacher.json").write_text(json.dumps(manifest), encoding="utf-8")


def outcomes(results: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of each record, with the hash of its ranks and its metrics, or its error."""
    for path in results.glob("*/record.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["status"] != "done":
            yield named(record), {"error": record["error"]}
            continue
        ranks = np.load(path.with_name("ranks.npy")).astype("<i4")
        metrics = {
            split: {name: value for name, value in values.items() if name.endswith("@20")}
            for split, values in record["metrics"].items()
            if split in ("valid", "test")
        }
        hashed = hashlib.sha256(ranks.tobytes()).hexdigest()
        yield named(record), {"ranks": hashed, "metrics": metrics}


def named(record: dict[str, Any]) -> str:
    """Such as `sasrec ce dllm2rec:paper (made, shuffled)`, or `popularity`."""
    trial = record["trial"]
    if trial is None:
        return str(record["reference"]["name"])
    parts = [trial["student"], trial["training"]["objective"], trial["method"]]
    if trial["variant"] != "default":
        parts[-1] += f":{trial['variant']}"
    if trial["teacher"]:
        parts.append(f"({', '.join(filter(None, (trial['teacher'], trial['control'])))})")
    if positions := trial["training"].get("positions"):
        parts.append(f"positions={positions}")
    return " ".join(parts)


def arithmetic() -> str:
    """Hash of what processors round differently: of MKL's roots, exponentials and products.

    On AMD's processors a square root of MKL may be a rounding away from the exact one.
    """
    torch.set_num_threads(1)
    values = torch.rand(120, 64, generator=torch.Generator().manual_seed(0))
    unary = (torch.sqrt, torch.exp, torch.log, torch.erf, torch.tanh)
    results = [*(function(values) for function in unary), values.T @ values, values @ values.T]
    results += [torch.linalg.eigh(values.T @ values).eigenvalues, values.softmax(dim=1)]
    return hashlib.sha256(b"".join(r.contiguous().numpy().tobytes() for r in results)).hexdigest()


if __name__ == "__main__":
    json.dump({"arithmetic": arithmetic(), "trials": measured()}, sys.stdout)
