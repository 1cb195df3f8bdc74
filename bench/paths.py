"""Where things are: the user's workspace and the configuration that ships with the suite."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ConfigError
from bench.folders import settle

PACKAGE = Path(__file__).resolve().parent
SHIPPED = PACKAGE.parent


def shipped(name: str) -> Path:
    """`methods` or `configs` as released: beside the package in a checkout, in it in a wheel."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else SHIPPED / name


@dataclass(frozen=True)
class Workspace:
    """The folder that holds `datasets/`, `tocf/` and `results/` (and may hold `configs/`)."""

    home: Path

    @classmethod
    def current(cls) -> Workspace:
        """`$BENCH_HOME` if set, else the checkout, else (installed as a package) this folder.

        Raises:
            ConfigError: there can be no such folder, or this one was deleted.
        """
        named = os.environ.get("BENCH_HOME")
        checkout = SHIPPED if (SHIPPED / "pyproject.toml").is_file() else None
        try:
            home = Path(named).expanduser().resolve() if named else checkout or Path.cwd()
            home.is_dir()  # what no path can be is an error here, and not in whatever comes first
        except (OSError, RuntimeError) as error:
            what = f"BENCH_HOME={named[:200]}" if named else "the current folder"
            raise ConfigError(f"{what} cannot be used: {error}"[:500]) from error
        workspace = cls(home)
        for folder in (*workspace.datasets.glob("*/"), *workspace.tocf.glob("*/")):
            settle(folder)  # what a killed `--force` left half-way has its name again
        return workspace

    @property
    def datasets(self) -> Path:
        return self.home / "datasets"

    @property
    def tocf(self) -> Path:
        return self.home / "tocf"

    @property
    def teacher_cache(self) -> Path:
        """What teachers compute on their way and may need again, such as vectors of texts."""
        return self.tocf / ".cache"

    @property
    def results(self) -> Path:
        return self.home / "results"

    @property
    def cache(self) -> Path:
        """What can be made again at any time."""
        return self.home / ".cache"

    @property
    def config_folders(self) -> list[Path]:
        """Folders of YAML, the strongest first: the user's own, then the shipped ones."""
        return list(dict.fromkeys([self.home / "configs", shipped("configs")]))
