"""Typed configuration of public sources: files, the tables in them, and what a family shares.

Imports neither numpy nor torch.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench import layers
from bench.data.sources.tables import ENDINGS, Format, ending
from bench.errors import ConfigError, UnknownNameError
from bench.paths import Workspace

OPTIONAL = ("title", "year", "genres")
"""Columns of items that an object may lack."""

CATEGORY = "{category}"
"""In the texts of a family: the category of the dataset."""

FAMILY_KEYS = ("family", "category")
"""Keys of a dataset's file that choose what it shares with others."""


class Download(BaseModel):
    """One file of a public source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    urls: list[str] = Field(min_length=1, description="mirrors, the first one preferred")
    sha256: str | None = Field(None, description="expected hash; else that of the first download")
    file: str | None = Field(
        None,
        description="what it is called here (default: as in the first address)",
    )

    @property
    def file_name(self) -> str:
        """What the file is called in the folder of downloads."""
        return self.file or self.urls[0].rpartition("/")[2]

    @model_validator(mode="after")
    def _name_is_one(self) -> Download:
        if not re.fullmatch(r"[\w-][\w.-]*", self.file_name):
            raise ValueError(f"'{self.file_name}' cannot be the name of a file; give 'file'")
        return self


class TableConfig(Download):
    """A table in a downloaded file, or in an archive, and where its columns are."""

    member: str | None = Field(None, description="file in the archive; * stands for anything")
    format: Format | None = Field(
        None,
        description="json: an object a line; python: a literal a line; csv; tsv, also RecBole's "
        "atomic files; dat: fields between `::`; lists: a line for each user, which is the number "
        "of items and the items (default: by the ending of the name)",
    )
    columns: dict[str, str | int | list[str]] = Field(
        default_factory=dict,
        description="of user, item, time, position and rating, or of item, title, year and genres: "
        "the name; the number, from 0 on, where there is no header; several names that the "
        "header may have, the first one preferred",
    )
    encoding: str = Field("utf-8", description="of texts that are not JSON")
    time_format: str | None = Field(
        None, description="strptime's; else times are numbers or ISO 8601"
    )
    first_id: int = Field(
        0,
        description="of items: the number of the first one, where the interactions count from 0",
    )
    tolerance: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="share of rows that are skipped where they cannot be read; more are an error",
    )

    @property
    def form(self) -> Format:
        """The format that is given, else the one by the ending of the name.

        Raises:
            ValueError: neither.
        """
        if self.format is not None:
            return self.format
        name = self.member or self.file_name
        found = ENDINGS.get(ending(PurePosixPath(name)))
        if found is None:
            raise ValueError(f"'{name}' does not tell its format; give 'format'")
        return found

    @model_validator(mode="after")
    def _columns_can_be_found(self) -> TableConfig:
        objects = self.form in ("json", "python")
        kinds = {type(column) for column in self.columns.values()}
        if objects and kinds - {str}:
            raise ValueError(f"columns of {self.form} have one name each")
        if int in kinds and len(kinds) > 1:
            raise ValueError("columns have names or numbers, not some of each")
        return self


class PlaceConfig(BaseModel):
    """A place that has the tables of a public source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interactions: TableConfig
    items: TableConfig | None = None
    unrated: bool = Field(False, description="the catalogue has items without interactions too")

    @model_validator(mode="after")
    def _roles_are_known(self) -> PlaceConfig:
        given = set(self.interactions.columns)
        if self.interactions.form != "lists":
            if not {"user", "item"} <= given <= {"user", "item", "time", "position", "rating"}:
                raise ValueError(
                    "columns of interactions are user and item, and any of time, position, rating"
                )
            if not given & {"time", "position"}:
                raise ValueError("interactions need a column for time or position")
        if self.items is not None:
            given = set(self.items.columns)
            if not {"item", "title"} <= given <= {"item", "title", "year", "genres"}:
                raise ValueError("columns of items are item and title, and any of year, genres")
        return self


def over_family(content: dict[str, Any], where: str, workspace: Workspace) -> dict[str, Any]:
    """The settings of a dataset laid over those of the family that it names, if it names one.

    Args:
        content: what the dataset's file says; `family` and `category` are for this function alone.
        where: that file, for messages.
        workspace: where families are configured.

    Raises:
        UnknownNameError: no family has this name.
        ConfigError: the family asks for a category and the dataset names none, or the reverse.
    """
    own = {key: value for key, value in content.items() if key not in FAMILY_KEYS}
    if own == content:
        return content
    name, category = content.get("family"), content.get("category")
    families = layers.names("families", workspace)
    if name not in families:
        raise UnknownNameError("family", str(name), families, where)
    shared = layers.read("families", name, workspace)
    if (CATEGORY in str(shared)) != (category is not None):
        needs = "needs" if category is None else "has no use for"
        raise ConfigError(f"{where}: family '{name}' {needs} a 'category'")
    return layers.merge(_fill(shared, str(category)), own)


def _fill(content: Any, category: str) -> Any:
    if isinstance(content, dict):
        return {key: _fill(value, category) for key, value in content.items()}
    if isinstance(content, list):
        return [_fill(value, category) for value in content]
    return content.replace(CATEGORY, category) if isinstance(content, str) else content
