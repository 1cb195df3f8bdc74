"""Where things are: the user's workspace and the configuration that ships with the suite."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

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
        """`$BENCH_HOME` if set, else the checkout, else (installed as a package) this folder."""
        home = os.environ.get("BENCH_HOME")
        if home:
            return cls(Path(home).expanduser().resolve())
        return cls(SHIPPED if (SHIPPED / "pyproject.toml").is_file() else Path.cwd())

    @property
    def datasets(self) -> Path:
        return self.home / "datasets"

    @property
    def tocf(self) -> Path:
        return self.home / "tocf"

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
