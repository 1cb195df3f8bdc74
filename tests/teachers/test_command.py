"""`bench teacher` from the command line, on an imported dataset and a tiny encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from bench.cli.main import main
from bench.data import store
from bench.data.config import dataset_config
from bench.paths import Workspace

USERS, ITEMS = 40, 30


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def done(*arguments: str) -> Result:
    result = bench(*arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def workspace(tmp_path: Path, tiny_encoder: Path) -> Workspace:
    """A workspace with a dataset `toy` and the teachers `tiny` and `tiny-raw`."""
    tables = tmp_path / "tables"
    tables.mkdir()
    random = np.random.default_rng(0)
    lines = ["user_id\titem_id\ttimestamp"]
    for user in range(USERS):
        times = np.sort(random.integers(0, 10**6, 14))
        lines += [f"u{user}\ti{random.integers(ITEMS)}\t{time}" for time in times]
    (tables / "interactions.tsv").write_text("\n".join(lines) + "\n")
    titles = [f"i{item}\t{' '.join(random.choice(list('abcdefgh'), 3))}" for item in range(ITEMS)]
    (tables / "items.tsv").write_text("\n".join(["item_id\ttitle", *titles]) + "\n")
    done("data", "import", "toy", str(tables))

    configs = tmp_path / "configs" / "teachers"
    configs.mkdir(parents=True)
    (configs / "tiny.yaml").write_text(
        f"kind: text\noptions: {{encoder: {tiny_encoder}, width: 8, heads: 2, epochs: 2}}\n"
    )
    (configs / "tiny-raw.yaml").write_text(
        f"kind: raw-text\noptions: {{encoder: {tiny_encoder}}}\n"
    )
    return Workspace(tmp_path)


def test_build_check_and_info(workspace: Workspace) -> None:
    for teacher, signals in (("tiny", 4), ("tiny-raw", 1)):
        built = done("teacher", "build", "--dataset", "toy", "--teacher", teacher)
        assert built.stdout.strip() == str(workspace.tocf / "toy" / teacher)
        asked = ("--dataset", "toy", "--teacher", teacher)
        found = json.loads(done("teacher", "check", *asked, "--format", "json").stdout)
        assert found["coverage"] == 1.0 and len(found["signals"]) == signals
        told = json.loads(done("teacher", "info", *asked, "--format", "json").stdout)
        assert told["name"] == teacher
        assert set(told["metrics"]) == {"valid", "test", "valid-masked", "test-masked"}
        assert {"hr@20", "ndcg@20", "mrr@1"} <= told["metrics"]["test"].keys()
        assert found["fingerprint"] == told["fingerprint"]
        ranks = np.load(workspace.tocf / "toy" / teacher / "test_ranks.npy")
        assert told["metrics"]["test"]["hr@5"] == pytest.approx((ranks <= 5).mean())
    assert told["signals"] == ["embeddings"]


def test_teachers_of_rows_under_other_settings(workspace: Workspace, tmp_path: Path) -> None:
    rows = ("--dataset", "toy", "--set", "protocol.history=5")
    done("teacher", "build", *rows, "--teacher", "tiny-raw")
    (folder,) = (path for path in (workspace.tocf / "toy").iterdir() if path.is_dir())
    assert folder.name == "tiny-raw.temporal-5-from1"
    done("teacher", "check", *rows, "--teacher", "tiny-raw")
    told = json.loads(
        done("teacher", "info", *rows, "--teacher", "tiny-raw", "--format", "json").stdout
    )
    assert told["protocol"] == "temporal-5-from1"
    np.save(tmp_path / "embeddings.npy", np.ones((ITEMS, 4), dtype=np.float32))
    done("teacher", "import", *rows, "--name", "mine", str(tmp_path / "embeddings.npy"))
    assert (workspace.tocf / "toy" / "mine.temporal-5-from1").is_dir()
    for command in ("build", "check", "info"):
        refused = bench("teacher", command, "--dataset", "toy", "--set", "protocol.histroy=5")
        assert refused.exit_code == 2 and "Did you mean 'protocol.history'" in refused.stderr


def test_the_text_teachers_figures(workspace: Workspace) -> None:
    done("teacher", "build", "--dataset", "toy", "--teacher", "tiny", "--set", "teacher.epochs=1")
    asked = ("--dataset", "toy", "--teacher", "tiny")
    told = json.loads(done("teacher", "info", *asked, "--format", "json").stdout)
    assert told["recipe"]["epochs_run"] == 1
    assert any("in-sample" in note for note in told["notes"])
    found = json.loads(done("teacher", "check", *asked, "--format", "json").stdout)
    shares = found["targets_in_list"]
    assert 0 <= shares["top_1"] <= shares["top_10"] <= 1
    assert shares["top_10"] == pytest.approx(
        told["recipe"]["share_of_training_targets_in_top_10"], abs=1e-4
    )
    assert found["distance"]["min"] <= found["distance"]["mean"] <= found["distance"]["max"]
    assert -1 <= found["agreement_of_order_and_embeddings"] <= 1
    text = done("teacher", "check", *asked).stdout
    assert "coverage" in text and "targets in list" in text


def test_device_and_threads_are_those_asked_for(workspace: Workspace) -> None:
    before = torch.get_num_threads()
    asked = ("teacher", "build", "--dataset", "toy", "--teacher", "tiny-raw")
    try:
        done(*asked, "--device", "cpu", "--threads", "1")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    refused = bench(*asked, "--force", "--device", "cuda:77")
    assert refused.exit_code == 2 and "--device cuda:77: not available here" in refused.stderr


def test_texts_that_changed_since_are_refused(workspace: Workspace) -> None:
    asked = ("teacher", "build", "--dataset", "toy", "--teacher", "tiny-raw")
    done(*asked)
    fingerprint = json.loads(done("teacher", "info", *asked[2:], "--format", "json").stdout)[
        "fingerprint"
    ]
    done(*asked)
    tables = workspace.home / "tables"
    items = tables / "items.tsv"
    lines = items.read_text().splitlines()
    items.write_text("\n".join([*lines[:-1], f"i{ITEMS - 1}\th h h h"]) + "\n")
    done("data", "import", "toy", str(tables), "--force")
    refused = bench(*asked)
    assert refused.exit_code == 2 and "other item texts" in refused.stderr
    done(*asked, "--force")
    again = json.loads(done("teacher", "info", *asked[2:], "--format", "json").stdout)
    assert again["fingerprint"] != fingerprint


def test_all_problems_and_exit_code_2(workspace: Workspace) -> None:
    folder = workspace.tocf / "toy"
    folder.mkdir(parents=True)
    torch.save(torch.full((ITEMS, 2), torch.nan), folder / "all_embeddings.pt")
    (folder / "myrank_train.txt").write_text("1 2 3\n")
    result = bench("teacher", "check", "--dataset", "toy", "--teacher", "published")
    assert result.exit_code == 2 and result.stdout == ""
    for problem in ("NaN or infinite", "1 rows, the training split", "confidence_train.txt"):
        assert problem in result.stderr
    by_path = bench("teacher", "check", str(folder))
    assert by_path.exit_code == 2 and "NaN or infinite" in by_path.stderr


def test_published_files_are_described(workspace: Workspace) -> None:
    config = dataset_config("toy", workspace)
    rows = len(store.prepare("toy", config, config.protocol, workspace).train)
    folder = workspace.tocf / "toy"
    folder.mkdir(parents=True)
    torch.save(torch.randn(ITEMS, 4), folder / "all_embeddings.pt")
    lists = np.random.default_rng(0).random((rows, ITEMS)).argsort(axis=1)[:, :4]
    np.savetxt(folder / "myrank_train.txt", lists, fmt="%d")
    np.savetxt(folder / "confidence_train.txt", np.tile([1.0, 2.0, 2.0, 3.5], (rows, 1)))
    found = json.loads(done("teacher", "check", str(folder), "--format", "json").stdout)
    assert found["id_base"] == 0 and found["list_length"] == 4
    assert found["distance"]["mean"] == pytest.approx(2.125)
    assert found["split_fingerprint"] == "not declared"
    assert (
        "published" in done("teacher", "info", "--dataset", "toy", "--teacher", "published").stdout
    )


def test_import_check_info_and_export(workspace: Workspace, tmp_path: Path) -> None:
    done("teacher", "build", "--dataset", "toy", "--teacher", "tiny")
    built = ("--dataset", "toy", "--teacher", "tiny")
    out, again = tmp_path / "out", tmp_path / "again"
    done("teacher", "export", *built, str(out))
    brought = ("--dataset", "toy", "--name", "brought")
    result = done("teacher", "import", *brought, str(out))
    folder = workspace.tocf / "toy" / "brought"
    assert result.stdout.splitlines()[-1] == str(folder)
    assert "count from 0, as was said" in result.stdout and "100.0%" in result.stdout
    for name in ("rankings.npy", "distances.npy", "embeddings.safetensors"):
        assert (folder / name).read_bytes() == (folder.parent / "tiny" / name).read_bytes()
    asked = ("--dataset", "toy", "--teacher", "brought")
    found = json.loads(done("teacher", "check", *asked, "--format", "json").stdout)
    assert found["coverage"] == 1.0 and found["doubts"] == []
    told = json.loads(done("teacher", "info", *asked, "--format", "json").stdout)
    own = json.loads(done("teacher", "info", *built, "--format", "json").stdout)
    assert told["metrics"] == own["metrics"] and told["notes"][: len(own["notes"])] == own["notes"]
    done("teacher", "export", *asked, str(again))
    for name in ("myrank_train.txt", "confidence_train.txt"):
        assert (again / name).read_bytes() == (out / name).read_bytes()
    assert "there already; --force" in bench("teacher", "import", *brought, str(out)).stderr
    done("teacher", "import", *brought, str(out), "--force")


def test_an_export_to_a_place_that_cannot_be_written_to(
    workspace: Workspace, tmp_path: Path
) -> None:
    done("teacher", "build", "--dataset", "toy", "--teacher", "tiny")
    (tmp_path / "file").write_text("a file where a folder should be")
    out = tmp_path / "file" / "out"
    refused = bench("teacher", "export", "--dataset", "toy", "--teacher", "tiny", str(out))
    assert refused.exit_code == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"Error: {out} cannot be written to: ")


def test_a_kind_that_changed_since_is_refused(workspace: Workspace) -> None:
    asked = ("teacher", "build", "--dataset", "toy", "--teacher", "tiny-raw")
    done(*asked)
    configs = workspace.home / "configs" / "teachers"
    (configs / "tiny-raw.yaml").write_text((configs / "tiny.yaml").read_text())
    refused = bench(*asked)
    assert refused.exit_code == 2 and "kind is raw-text there and text here" in refused.stderr
    done(*asked, "--force")


def test_a_teacher_of_another_dataset_or_split_is_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    done("teacher", "build", "--dataset", "toy", "--teacher", "tiny-raw")
    folder = str(workspace.tocf / "toy" / "tiny-raw")
    rows = (tmp_path / "tables" / "interactions.tsv").read_text().splitlines()
    for name, kept in (("fewer", rows[:-1]), ("others", rows[: len(rows) // 2])):
        place = tmp_path / name
        place.mkdir()
        (place / "interactions.tsv").write_text("\n".join(kept) + "\n")
        done("data", "import", name, str(place))
        result = bench("teacher", "check", "--dataset", name, folder)
        assert result.exit_code == 2 and "made for the dataset toy" in result.stderr
        assert "made for another split" in result.stderr
    elsewhere = bench("teacher", "check", folder, "--dataset", "toy", "--protocol", "leave-one-out")
    assert elsewhere.exit_code == 2 and "made for another split" in elsewhere.stderr
    assert "another catalogue" not in elsewhere.stderr


def test_a_path_tells_its_protocol(workspace: Workspace) -> None:
    for protocol in ("leave-one-out", "timepoint"):
        rows = ("--dataset", "toy", "--protocol", protocol)
        done("teacher", "build", *rows, "--teacher", "tiny-raw")
        folder = workspace.tocf / "toy" / f"tiny-raw.{protocol}-10"
        done("teacher", "check", str(folder))
        elsewhere = bench("teacher", "check", str(folder), "--protocol", "temporal")
        assert elsewhere.exit_code == 2 and "made for another split" in elsewhere.stderr
        manifest = json.loads((folder / "teacher.json").read_text())
        (folder / "teacher.json").write_text(json.dumps(manifest | {"protocol": protocol}))
        done("teacher", "check", str(folder))


def test_a_path_whose_protocol_has_settings_asks_for_them(workspace: Workspace) -> None:
    settings = ("--protocol", "leave-one-out", "--set", "protocol.filters.until=900000")
    done("teacher", "build", "--dataset", "toy", *settings, "--teacher", "tiny-raw")
    path = str(workspace.tocf / "toy" / "tiny-raw.leave-one-out-10-until900000")
    refused = bench("teacher", "check", path)
    assert refused.exit_code == 2
    assert f"{path}: made for protocol 'leave-one-out-10-until900000' of toy: " in refused.stderr
    assert "--protocol (temporal, timepoint, leave-one-out, given)" in refused.stderr
    done("teacher", "check", path, *settings)
    done("teacher", "check", path, *settings[2:])
    mistaken = bench("teacher", "check", path, "--set", "protocol.histroy=5")
    assert mistaken.exit_code == 2 and "Did you mean 'protocol.history'" in mistaken.stderr


@pytest.mark.parametrize("protocol", ["temporalis-10", "mine", ""])
def test_a_path_of_an_unknown_protocol_asks_for_one(protocol: str, workspace: Workspace) -> None:
    done("teacher", "build", "--dataset", "toy", "--teacher", "tiny-raw")
    path = workspace.tocf / "toy" / "tiny-raw"
    manifest = json.loads((path / "teacher.json").read_text())
    (path / "teacher.json").write_text(json.dumps(manifest | {"protocol": protocol}))
    refused = bench("teacher", "check", str(path))
    assert refused.exit_code == 2 and f"made for protocol '{protocol}' of toy" in refused.stderr
    done("teacher", "check", str(path), "--protocol", "temporal")


def test_what_a_teacher_takes_for_one_user(workspace: Workspace) -> None:
    done("teacher", "build", "--dataset", "toy", "--teacher", "tiny-raw")
    asked = ("teacher", "info", "--dataset", "toy", "--teacher", "tiny-raw")
    lines = done(*asked).stdout.splitlines()
    assert not any(line.startswith("latency") for line in lines)
    assert any(line.split()[:1] == ["ndcg@20"] for line in lines)
    assert not any("mrr" in line for line in lines)
    manifest = workspace.tocf / "toy" / "tiny-raw" / "teacher.json"
    content = json.loads(manifest.read_text())
    content["recipe"]["latency_ms_per_user"] = 12.5
    manifest.write_text(json.dumps(content))
    assert "latency ms per user" in done(*asked).stdout
    assert json.loads(done(*asked, "--format", "json").stdout)["latency_ms_per_user"] == 12.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "--dataset", "toy", "--teacher", "tinny"], "Did you mean 'tiny'"),
        (["build", "--dataset", "toi", "--teacher", "tiny"], "Did you mean 'toy'"),
        (["build", "--teacher", "tiny"], "--dataset is missing"),
        (["import", "--dataset", "toy", "nowhere"], "--name is missing"),
        (["import", "--dataset", "toy", "--name", "x", "nowhere"], "no such file or folder"),
        (
            ["export", "--dataset", "toy", "--teacher", "tiny", "out"],
            "is not built: bench teacher build",
        ),
        (["build", "--dataset", "toy", "--teacher", "tiny", "--set", "epochs=1"], "epochs"),
        (
            ["build", "--dataset", "toy", "--teacher", "tiny", "--set", "teacher.epoch=1"],
            "Did you mean 'epochs'",
        ),
        (["check", "--dataset", "toy", "--teacher", "tiny"], "is not built: bench teacher build"),
        (["info", "--dataset", "toy", "--teacher", "tiny"], "is not built: bench teacher build"),
        (["check", "nosuch"], "nosuch is not usable teacher knowledge"),
        (["check", "nosuch", "--dataset", "toy"], "nosuch is not usable teacher knowledge"),
        (["info", "nosuch"], "nosuch is not usable teacher knowledge"),
        (["info", "here", "--dataset", "toy"], "--dataset: here says it already"),
        (["info", "here", "--teacher", "text"], "--teacher: here says it already"),
        (
            ["info", "here", "--protocol", "given", "--set", "nonsense=1"],
            "--protocol, --set: here says it already; give one or the other",
        ),
        (["check", "here", "--teacher", "tiny"], "--teacher: here says it already"),
    ],
)
def test_mistakes(arguments: list[str], message: str, workspace: Workspace) -> None:
    result = bench("teacher", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr and "Traceback" not in result.stderr


def test_shipped_configurations_are_valid() -> None:
    from bench import layers
    from bench.teachers.builder import resolved_options
    from bench.teachers.config import configured, read_teacher
    from bench.teachers.registry import KINDS

    workspace = Workspace.current()
    names = layers.names("teachers", workspace)
    assert {"text", "raw-text", "ensemble", "planted"} <= set(names)
    for name, (file, _) in configured(workspace).items():
        config = read_teacher(name, workspace)
        assert config.summary
        if KINDS.get(config.kind).per_student and name == file:
            continue  # its student is part of the name
        real = () if KINDS.get(config.kind).synthetic_only else ("any", "game", "movielens")
        for dataset in ("game-synthetic", *real, *config.datasets):
            resolved_options(config, dataset, workspace, name)
