"""The dataset that a command is about, under a protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import ConfigError, UnknownNameError
from bench.paths import Workspace

if TYPE_CHECKING:
    from bench.config.overrides import Overrides
    from bench.data.config import DatasetConfig, ProtocolConfig
    from bench.data.examples import PreparedData


@dataclass(frozen=True)
class DatasetArgs:
    """A dataset and its protocol as a command line names them, not looked into yet."""

    dataset: str | None
    protocol: str | None
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """The dataset's name.

        Raises:
            ConfigError: none is given.
        """
        return required(self.dataset, "--dataset")

    def resolve(self, overrides: Overrides | None = None) -> ChosenDataset:
        """Resolve the names against the configuration.

        Args:
            overrides: those of the command line, where others than `protocol.*` are taken already.

        Raises:
            ConfigError: no dataset is named, a name is unknown, or an override concerns nothing.
        """
        from bench.config.overrides import Overrides, protocol_of
        from bench.data.config import dataset_config

        workspace, taken = Workspace.current(), overrides or Overrides(self.overrides)
        config = dataset_config(self.name, workspace)
        protocol = protocol_of(config, self.protocol, taken)
        taken.reject_unused()
        return ChosenDataset(workspace, self.name, config, protocol)


@dataclass(frozen=True)
class ChosenDataset:
    """One dataset under one protocol, and its teachers."""

    workspace: Workspace
    dataset: str
    config: DatasetConfig
    protocol: ProtocolConfig

    def data(self) -> PreparedData:
        """The examples, prepared if need be.

        Raises:
            DataError: the source cannot be had or read, or does not suit the protocol.
        """
        from bench.data import store

        return store.prepare(self.dataset, self.config, self.protocol, self.workspace)

    def teacher_folder(self, teacher: str) -> Path:
        """Where a teacher of these examples lies, or will."""
        from bench.teachers.manifest import teacher_folder

        slug, default_slug = self.protocol.slug, self.config.protocol.slug
        return teacher_folder(self.workspace, self.dataset, teacher, slug, default_slug)

    def built_teacher(self, teacher: str) -> Path:
        """The folder of a teacher that is built.

        Raises:
            ConfigError: it is not; the message tells which are, and how it is made.
        """
        from bench.teachers.config import configured
        from bench.teachers.manifest import teachers_in

        folder = self.teacher_folder(teacher)
        if not folder.is_dir():
            there = teachers_in(folder.parent)
            if teacher in configured(self.workspace):
                raise ConfigError(
                    f"teacher '{teacher}' of {self.dataset} is not built: bench teacher build "
                    f"--dataset {self.dataset} --teacher {teacher}. Built: "
                    f"{', '.join(there) or 'none'}"
                )
            raise UnknownNameError("teacher", teacher, there, str(folder.parent))
        return folder


def required(value: str | None, option: str) -> str:
    """The value of an option.

    Raises:
        ConfigError: it is not given.
    """
    if value is None:
        raise ConfigError(f"{option} is missing")
    return value
