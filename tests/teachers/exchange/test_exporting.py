"""A teacher in the layout that DLLM2Rec publishes: a new folder, whole or absent."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from bench import folders
from bench.data.examples import PreparedData
from bench.errors import ArtifactError, ConfigError
from bench.teachers.exchange import exporting
from bench.teachers.exchange.exporting import export_dllm2rec
from bench.teachers.knowledge import load_knowledge

from ...listening import listening
from ..conftest import N_ROWS, Folder

PUBLISHED = {"all_embeddings.pt", "myrank_train.txt", "confidence_train.txt"}


def test_what_the_published_layout_has_no_place_for(folder: Folder, data: PreparedData) -> None:
    out = folder.path.parent / "out"
    covered = np.arange(N_ROWS) > 0
    path = folder.binary()
    np.save(path / "covered.npy", covered)
    with pytest.raises(ConfigError, match="does not cover 1 of 240 examples"):
        export_dllm2rec(path, data, out)
    (path / "covered.npy").unlink()
    folder.binary(signals=["embeddings"])
    with pytest.raises(ConfigError, match="offers embeddings; DLLM2Rec's layout has"):
        export_dllm2rec(path, data, out)
    folder.embeddings[0] = np.nan
    with pytest.raises(ArtifactError, match="NaN"):
        export_dllm2rec(folder.binary(), data, out)
    assert not out.exists()
    out.mkdir()
    with pytest.raises(ConfigError, match="there already"):
        export_dllm2rec(path, data, out)


def test_an_export_says_what_it_is(folder: Folder, data: PreparedData) -> None:
    out = folder.path.parent / "out"
    export_dllm2rec(folder.binary(metrics={"test": {"ndcg@20": 0.5}}), data, out, id_base=1)
    told = json.loads((out / "teacher.json").read_text())
    assert told["id_base"] == 1 and told["split_fingerprint"] == "split-a"
    assert told["metrics"] == {"test": {"ndcg@20": 0.5}}
    assert set(told["files"]) == PUBLISHED


def test_two_exports_to_one_place_leave_the_first(
    folder: Folder, data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "PATIENCE", 0.0)
    path, out = folder.binary(), tmp_path / "out"
    writing, waiting = threading.Event(), threading.Event()
    write = exporting._write

    def slow(*arguments: object) -> None:
        writing.set()
        assert waiting.wait(10)
        write(*arguments)

    monkeypatch.setattr(exporting, "_write", slow)
    first = threading.Thread(target=export_dllm2rec, args=(path, data, out))
    first.start()
    assert writing.wait(10)
    with pytest.raises(ConfigError, match="there already"), listening(lambda _: waiting.set()):
        export_dllm2rec(path, data, out)
    first.join(10)
    assert load_knowledge(out, data).rankings.numpy().tolist() == folder.ids.tolist()


def test_what_somebody_puts_there_meanwhile_stays(
    folder: Folder, data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = folder.binary(), tmp_path / "out"
    write = exporting._write

    def interrupted(*arguments: object) -> None:
        write(*arguments)
        out.mkdir()
        (out / "thesis.tex").write_text("years of work")

    monkeypatch.setattr(exporting, "_write", interrupted)
    with pytest.raises(ConfigError, match=f"{out} cannot be written to"):
        export_dllm2rec(path, data, out)
    assert (out / "thesis.tex").read_text() == "years of work"
    assert not list(tmp_path.glob(".out.building-*"))
