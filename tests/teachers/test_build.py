"""A teacher is built once, whole or not at all, and never silently another one."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from bench.data.examples import PreparedData
from bench.errors import ArtifactError, ConfigError, UnknownNameError
from bench.paths import Workspace
from bench.teachers.builder import Builder, Product
from bench.teachers.knowledge import load_knowledge, load_test_ranks
from bench.teachers.manifest import MANIFEST, read_manifest, teacher_folder
from bench.teachers.recipe import TEXTS, texts_hash
from bench.teachers.registry import KINDS

from ..listening import listening

RAW = {"summary": "", "kind": "tally"}


class Counting(Builder):
    """A kind that counts how often it was asked, and can fail."""

    calls: ClassVar[list[str]] = []
    fail: ClassVar[bool] = False
    started: ClassVar[threading.Event]
    go_on: ClassVar[threading.Event]

    class Options(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")
        size: int = 3
        trajectories: bool = False

    @staticmethod
    def build(
        options: Any,
        data: PreparedData,
        cache: Path,
        device: str,
    ) -> Product:
        Counting.calls.append(data.protocol)
        Counting.started.set()
        assert Counting.go_on.wait(10)
        if Counting.fail:
            raise RuntimeError("power cut")
        random = np.random.default_rng(len(Counting.calls))
        lists = random.random((len(data.train), data.n_items)).argsort(axis=1)[:, : options.size]
        if options.trajectories:
            return Product(
                metrics={},
                test_ranks=np.ones(len(data.test), dtype=np.int32),
                recipe={},
                trajectories=np.tile((lists + 1).astype(np.int32), (2, 3, 1, 1)),
                members=["one", "two"],
            )
        return Product(
            embeddings=random.random((data.n_items, 4)).astype(np.float32),
            metrics={"test": {"ndcg@20": 0.5}},
            test_ranks=np.ones(len(data.test), dtype=np.int32),
            recipe={TEXTS: texts_hash(data), "device": device},
            rankings=(lists + 1).astype(np.int32),
        )


KINDS.register("tally", Counting, signals=set(), summary="", path=Path(__file__))
KINDS.register("tallying", Counting, signals=set(), summary="", path=Path(__file__))


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Counting.calls.clear()
    Counting.fail = False
    Counting.started, Counting.go_on = threading.Event(), threading.Event()
    Counting.go_on.set()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


Ensure = Callable[..., Path]


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_what_is_built_can_be_read(
    ensure: Ensure, workspace: Workspace, data: PreparedData
) -> None:
    folder = ensure("mine", RAW, data)
    assert folder == workspace.tocf / "toy" / "mine"
    knowledge = load_knowledge(folder, data)
    assert knowledge.rankings.shape == (len(data.train), 3)
    manifest = read_manifest(folder)
    assert manifest.signals == ["embeddings", "rankings"] and manifest.id_base == 1
    assert manifest.recipe["options"] == {"size": 3, "trajectories": False}
    assert manifest.split_fingerprint == data.split_fingerprint
    assert np.load(folder / "test_ranks.npy").shape == (len(data.test),)


def test_ranks_that_are_swapped_between_teachers_are_noticed(
    ensure: Ensure, data: PreparedData
) -> None:
    """They are in no key; a teacher of before they had a hash is read as it was."""
    folder = ensure("mine", RAW, data)
    before = load_test_ranks(folder, data)
    fingerprint = read_manifest(folder).fingerprint
    np.save(folder / "test_ranks.npy", np.full(len(data.test), 2, dtype=np.int32))
    with pytest.raises(ArtifactError, match=r"test_ranks\.npy is not the file that teacher\.json"):
        load_test_ranks(folder, data)
    content = json.loads((folder / "teacher.json").read_text())
    del content["ranks"]
    (folder / "teacher.json").write_text(json.dumps(content))
    assert before is not None and load_test_ranks(folder, data) is not None
    assert read_manifest(folder).fingerprint == fingerprint


def test_a_group_may_read_what_the_umask_lets_it_read(ensure: Ensure, data: PreparedData) -> None:
    before = os.umask(0o027)
    try:
        folder = ensure("mine", RAW, data)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes.pop("embeddings.safetensors") == 0o640
    assert set(modes.values()) == {0o640}


def test_a_product_of_trajectories_alone(ensure: Ensure, data: PreparedData) -> None:
    config = {**RAW, "options": {"trajectories": True}}
    folder = ensure("mine", config, data)
    manifest = read_manifest(folder)
    assert manifest.signals == ["trajectories"] and manifest.members == ["one", "two"]
    assert set(manifest.files) == {"trajectories.npy"}
    assert sorted(path.name for path in folder.iterdir()) == [
        "teacher.json",
        "test_ranks.npy",
        "trajectories.npy",
    ]
    knowledge = load_knowledge(folder, data)
    assert knowledge.trajectories is not None and knowledge.trajectories.shape == (2, 3, 240, 3)


def test_options_that_other_files_complete(
    ensure: Ensure, workspace: Workspace, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complete(options: dict[str, Any], dataset: str, where: Workspace) -> dict[str, Any]:
        assert (dataset, where) == ("toy", workspace)
        return {"size": 7, **options}

    monkeypatch.setattr(Counting, "complete", staticmethod(complete), raising=False)
    folder = ensure("mine", RAW, data)
    assert read_manifest(folder).recipe["options"]["size"] == 7
    ensure("mine", RAW, data)
    monkeypatch.delattr(Counting, "complete")
    with pytest.raises(ConfigError, match="size is 7 there and 3 here"):
        ensure("mine", RAW, data)


def test_a_second_call_builds_nothing(ensure: Ensure, data: PreparedData) -> None:
    ensure("mine", RAW, data)
    ensure("mine", RAW, data)
    assert len(Counting.calls) == 1


def test_two_at_a_time_build_it_once(ensure: Ensure, data: PreparedData) -> None:
    Counting.go_on.clear()
    lines: list[str] = []
    first = threading.Thread(target=ensure, args=("mine", RAW, data))
    first.start()
    assert Counting.started.wait(10)
    waiting = threading.Event()

    def hear(line: str) -> None:
        lines.append(line)
        waiting.set()

    second = threading.Thread(target=ensure, args=("mine", RAW, data))
    with listening(hear):
        second.start()
        assert waiting.wait(10)
    Counting.go_on.set()
    first.join(10)
    second.join(10)
    assert len(Counting.calls) == 1
    assert len(lines) == 1 and ") is working on" in lines[0]


def test_a_failed_build_leaves_nothing(
    ensure: Ensure, workspace: Workspace, data: PreparedData
) -> None:
    Counting.fail = True
    with pytest.raises(RuntimeError, match="power cut"):
        ensure("mine", RAW, data)
    assert visible(workspace.tocf / "toy") == []
    Counting.fail = False
    load_knowledge(ensure("mine", RAW, data), data)


def test_leftovers_of_a_killed_build_are_swept(
    ensure: Ensure, workspace: Workspace, data: PreparedData
) -> None:
    leftover = workspace.tocf / "toy" / ".mine.building-0"
    leftover.mkdir(parents=True)
    ensure("mine", RAW, data)
    assert visible(workspace.tocf / "toy") == ["mine"]


def test_another_protocol_has_a_folder_of_its_own(workspace: Workspace) -> None:
    def name(teacher: str, slug: str) -> str:
        folder = teacher_folder(workspace, "toy", teacher, slug, "temporal-4")
        return str(folder.relative_to(workspace.tocf))

    assert name("mine", "temporal-4") == "toy/mine"
    assert name("mine", "leave-one-out-4") == "toy/mine.leave-one-out-4"
    assert name("published", "temporal-4") == "toy"
    assert name("published", "leave-one-out-4") == "toy/published.leave-one-out-4"


def test_another_kind_is_refused_and_force_replaces(ensure: Ensure, data: PreparedData) -> None:
    folder = ensure("mine", RAW, data)
    other = {**RAW, "kind": "tallying"}
    with pytest.raises(ConfigError, match=r"kind is tally there and tallying here.*build --force"):
        ensure("mine", other, data)
    assert len(Counting.calls) == 1
    ensure("mine", other, data, rebuild=True)
    assert read_manifest(folder).kind == "tallying"


@pytest.mark.parametrize("kind", ["external", "published"])
def test_what_no_builder_made_is_taken_as_it_is(
    kind: str, ensure: Ensure, data: PreparedData
) -> None:
    folder = ensure("mine", RAW, data)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "kind": kind, "recipe": {}}))
    ensure("mine", {**RAW, "options": {"size": 4}}, data)
    assert len(Counting.calls) == 1 and read_manifest(folder).kind == kind


def test_a_place_that_cannot_be_written_to_is_refused(
    ensure: Ensure, workspace: Workspace, data: PreparedData
) -> None:
    workspace.tocf.write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match=f"{workspace.tocf}/toy/mine cannot be written to"):
        ensure("mine", RAW, data)
    assert not Counting.calls


def test_other_options_are_refused_and_force_replaces(
    ensure: Ensure, workspace: Workspace, data: PreparedData
) -> None:
    folder = ensure("mine", RAW, data)
    before = read_manifest(folder).fingerprint
    other = {**RAW, "options": {"size": 4}}
    with pytest.raises(ConfigError, match="size is 3 there and 4 here"):
        ensure("mine", other, data)
    ensure("mine", other, data, rebuild=True)
    assert load_knowledge(folder, data).rankings.shape[1] == 4
    assert read_manifest(folder).fingerprint != before
    assert visible(workspace.tocf / "toy") == ["mine"]


def test_an_option_that_is_newer_than_the_teacher_had_its_default(
    ensure: Ensure, data: PreparedData
) -> None:
    folder = ensure("mine", RAW, data)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["recipe"]["options"] = {"size": 3}  # built before there was the other one
    (folder / MANIFEST).write_text(json.dumps(manifest))
    ensure("mine", RAW, data)
    with pytest.raises(ConfigError, match="trajectories is False there and True here"):
        other = {**RAW, "options": {"trajectories": True}}
        ensure("mine", other, data)
    manifest["recipe"]["options"] = {"size": 3, "gone": 1}  # an option that is no more
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match="gone is 1 there and None here"):
        ensure("mine", RAW, data)
    assert len(Counting.calls) == 1


def test_other_item_texts_are_refused_and_force_replaces(
    ensure: Ensure, data: PreparedData, make_data: Callable[..., PreparedData]
) -> None:
    folder = ensure("mine", RAW, data)
    before = read_manifest(folder).fingerprint
    ensure("mine", RAW, make_data())  # the same texts
    changed = make_data(item_texts=["A new name", *data.item_texts[1:]])
    with pytest.raises(ConfigError, match=r"other item texts than those that toy has now.*--force"):
        ensure("mine", RAW, changed)
    assert len(Counting.calls) == 1

    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["recipe"][TEXTS]  # as one built before the hash was kept
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert read_manifest(folder).fingerprint == before
    ensure("mine", RAW, changed)
    ensure("mine", RAW, changed, rebuild=True)
    assert read_manifest(folder).recipe[TEXTS] == texts_hash(changed)
    assert len(Counting.calls) == 2


def test_options_of_one_dataset(ensure: Ensure, data: PreparedData) -> None:
    config = {**RAW, "options": {"size": 4}, "datasets": {"toy": {"size": 5}, "other": {"size": 6}}}
    folder = ensure("mine", config, data)
    assert load_knowledge(folder, data).rankings.shape[1] == 5


def test_a_teacher_of_other_data_is_refused(
    ensure: Ensure, data: PreparedData, make_data: Callable[..., PreparedData]
) -> None:
    folder = ensure("mine", RAW, data)
    with pytest.raises(ArtifactError, match="another split"):
        load_knowledge(folder, make_data(split_fingerprint="split-b"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "tall"}, "Did you mean 'tally'"),
        ({"kind": "tally", "options": {"sise": 3}}, "Did you mean 'size'"),
        ({"kind": "tally", "options": {"size": "many"}}, "'size'"),
        ({"kind": "text", "options": {"learning_rate": -1}}, "'learning_rate'"),
        ({"kind": "text", "options": {"width": 6}}, r"'heads' \(4\) must divide 'width' \(6\)"),
        ({"kind": "tally", "option": {}}, "Did you mean 'options'"),
    ],
)
def test_mistakes_are_told_before_anything_is_built(
    ensure: Ensure, config: dict[str, Any], message: str, workspace: Workspace, data: PreparedData
) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        ensure("mine", config, data)
    assert not Counting.calls and not workspace.tocf.exists()
