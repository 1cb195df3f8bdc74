"""What a run is for: names, seeds and overrides, from options and from suites."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bench import layers
from bench.errors import ConfigError
from bench.paths import Workspace

ALL = "all"

LADDER = "ladder"
"""The suite that `--ladder` adds to what is named."""


class Selection(BaseModel):
    """The axes of a grid; an empty axis takes the default of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    summary: str = Field("", description="one line for `bench list suites`")
    methods: list[str] = Field(default_factory=list, description="NAME, NAME:VARIANT or `all`")
    datasets: list[str] = Field(
        default_factory=list, description="names or `all`, which leaves out synthetic ones"
    )
    students: list[str] = Field(default_factory=list, description="names or `all`")
    teachers: list[str] = Field(
        default_factory=list, description="names or `all`, which leaves out language models"
    )
    references: list[str] = Field(
        default_factory=list,
        description="names of teachers whose own ranking is shown, whatever learns from them",
    )
    controls: list[str] = Field(
        default_factory=list,
        description="such as `shuffled`: repeat every distilled trial under it",
    )
    seeds: str = Field("", description="such as `0-4` or `0,2,5`")
    protocol: str | None = Field(None, description="name; else each dataset's own")
    overrides: list[str] = Field(default_factory=list, alias="set", description="key=value")

    @field_validator("seeds", mode="before")
    @classmethod
    def _one_seed_is_a_selection(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def over(self, weaker: Selection) -> Selection:
        """This selection, with the axes that it leaves open taken from `weaker`.

        Overrides add up; the ones of this selection are the stronger.
        """
        chosen = {name: value for name, value in self if value not in ("", None, [])}
        chosen["overrides"] = [*weaker.overrides, *self.overrides]
        return weaker.model_copy(update=chosen)

    def beside(self, other: Selection) -> Selection:
        """This selection and the names of another: their axes of names add up."""
        names = {
            name: [*getattr(other, name), *value] for name, value in self if isinstance(value, list)
        }
        return self.model_copy(update=names)


def read_suite(name: str, workspace: Workspace) -> Selection:
    """The selection that `configs/suites/<name>.yaml` holds.

    Raises:
        UnknownNameError: there is no such suite.
        ConfigError: the file cannot be understood.
    """
    return layers.load(Selection, "suites", name, workspace)


def parse_seeds(text: str) -> list[int]:
    """Seeds of `0-4`, `0,2,5` or a mixture, sorted, without repetition.

    Raises:
        ConfigError: not of that form.
    """
    seeds: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,9})(?:\s*-\s*([0-9]{1,9}))?\s*", part)
        if match is None:
            raise ConfigError(f"--seeds {text}: expected such as 0-4 or 0,2,5")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= last - first < 10_000:
            raise ConfigError(f"--seeds {text}: '{part.strip()}' is no range of seeds")
        seeds.update(range(first, last + 1))
    return sorted(seeds)


def expand(chosen: Iterable[str], known: Iterable[str]) -> list[str]:
    """The chosen names in their order, without repetition; `all` stands for all known ones.

    Raises:
        ConfigError: several names in one.
    """
    names: list[str] = []
    for name in chosen:
        if "," in name:
            raise ConfigError(f"'{name}': one name at a time; give the option once for each")
        names.extend(sorted(known) if name == ALL else [name])
    return list(dict.fromkeys(names))
