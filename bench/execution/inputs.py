"""What trials stand on: prepared data and teacher knowledge, made if missing, loaded once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench import plan
from bench.config.grid import Grid
from bench.data import store as data_store
from bench.data.examples import PreparedData
from bench.errors import BenchError, InputsChanged
from bench.execution.devices import free_memory
from bench.paths import Workspace
from bench.plan import DataName, Reference, TeacherName, Trial
from bench.teachers.manifest import TeacherManifest, read_manifest

if TYPE_CHECKING:
    from bench.distillation import Knowledge

REPLACED = (
    "something replaced them since, such as `bench data import --force`. The same command, given "
    "again, goes on with what is there now"
)


def identify(grid: Grid, workspace: Workspace) -> list[Trial | None]:
    """The trials of a grid; None where data or teacher are not there yet (cheap, no torch).

    Raises:
        ArtifactError: a teacher's manifest cannot be understood.
    """
    data = {(name, slug): data_store.identity(name, slug, workspace) for name, slug in grid.data}
    teachers = {
        name: read_manifest(source.folder).fingerprint
        for name, source in grid.teachers.items()
        if source.is_there
    }
    return plan.identify(grid.trials, data, teachers)


class Inputs:
    """The data and teachers of a grid; the last ones used stay loaded.

    `data(name)` and `manifest(name)` are those of a dataset or teacher that is there, and
    `knowledge(name, fingerprint)` what a teacher knows that has this fingerprint. What is read of
    teachers holds until `build_teachers`, which may build others.
    """

    def __init__(self, grid: Grid, workspace: Workspace) -> None:
        self._grid = grid
        self.workspace = workspace
        # Trials come setting by setting, so a few loaded inputs serve a grid of any size.
        self.data = lru_cache(maxsize=2)(self._data)
        self.knowledge = lru_cache(maxsize=4)(self._knowledge)
        # Manifests are small, but to read one may mean to hash hundreds of megabytes.
        self.manifest = cache(self._manifest)

    def teacher_folder(self, name: TeacherName) -> Path:
        """Where a teacher lies."""
        return self._grid.teachers[name].folder

    def of(self, trial: Trial) -> tuple[PreparedData, Knowledge | None]:
        """What a trial is trained on: its data, and what its teacher knows under its control.

        Raises:
            InputsChanged: they are others than its key names, or cannot be read any more.
        """
        try:
            data = self.data_of(trial)
            return data, self._knowledge_of(trial, data)
        except InputsChanged:
            raise
        except BenchError as error:
            raise InputsChanged(f"{trial.label}: {error}") from error

    def data_of(self, subject: Trial | Reference) -> PreparedData:
        """The data of a trial or reference.

        Raises:
            InputsChanged: those on the disk are others than its key names.
        """
        data = self.data((subject.dataset, subject.protocol))
        if data.fingerprint != subject.data_fingerprint:
            raise InputsChanged(
                f"the data of '{data.dataset}' ({data.protocol}) are not those that this run was "
                f"planned for (fingerprint {data.fingerprint[:12]}, and not "
                f"{subject.data_fingerprint[:12]}): {REPLACED}"
            )
        return data

    def _knowledge_of(self, trial: Trial, data: PreparedData) -> Knowledge | None:
        if trial.teacher_name is None:
            return None
        knowledge = self.knowledge(trial.teacher_name, trial.teacher_fingerprint)
        if trial.control is None:
            return knowledge
        import torch

        from bench.teachers.controls import apply_control

        targets = torch.tensor(data.train.target)
        seed = plan.derive_seed(trial, "control")
        return apply_control(knowledge, trial.control, seed, targets)

    def forget_knowledge(self) -> None:
        """Read teachers again when they are needed: what is loaded may have been written into."""
        self.knowledge.cache_clear()

    def release(self) -> None:
        """Let go of what is loaded, which may be gigabytes; it is loaded again when needed."""
        self.data.cache_clear()
        self.knowledge.cache_clear()
        free_memory()

    def prepare_data(self) -> None:
        """Prepare the data of the grid.

        Raises:
            DataError: they cannot be had.
        """
        for name in self._grid.data:
            self.data(name)

    def build_teachers(self, names: Iterable[TeacherName | None], device: str) -> None:
        """Build the teachers called `names` that are missing, on the torch device `device`.

        Raises:
            ConfigError: a wrong option, or a teacher that was built with other options.
        """
        for name in dict.fromkeys(names):
            if name is not None:
                self._build_teacher(name, device)
        self.manifest.cache_clear()
        self.knowledge.cache_clear()

    def _data(self, name: DataName) -> PreparedData:
        source = self._grid.data[name]
        return data_store.prepare(source.name, source.config, source.protocol, self.workspace)

    def _build_teacher(self, name: TeacherName, device: str) -> None:
        from bench.teachers.build import ensure_teacher

        dataset, slug, _ = name
        source = self._grid.teachers[name]
        if source.config is None:
            return
        ensure_teacher(
            source.name,
            source.config,
            self.data((dataset, slug)),
            self.workspace,
            source.folder,
            device=device,
        )

    def _manifest(self, name: TeacherName) -> TeacherManifest:
        """The manifest of a teacher that is built."""
        return read_manifest(self._grid.teachers[name].folder)

    def _knowledge(self, name: TeacherName, fingerprint: str | None = None) -> Knowledge:
        from bench.teachers.knowledge import load_knowledge

        dataset, slug, _ = name
        folder, data = self._grid.teachers[name].folder, self.data((dataset, slug))
        return load_knowledge(folder, data, fingerprint)
