"""Typed configuration of public sources: files, the tables in them, and what a family shares.

Imports neither numpy nor torch.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.config import layers
from bench.errors import ConfigError, UnknownNameError
from bench.paths import Workspace

CATEGORY = "{category}"
"""In the texts of a family: the category of the dataset."""


class Download(BaseModel):
    """One file of a public source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    urls: list[str] = Field(min_length=1, description="mirrors, the first one preferred")
    sha256: str | None = Field(None, description="expected hash; else that of the first download")

    @property
    def file_name(self) -> str:
        """What the file is called in the folder of downloads."""
        return self.urls[0].rpartition("/")[2]


class Table(Download):
    """A table in a downloaded file, or in an archive, and where its columns are."""

    member: str | None = Field(None, description="file in the archive; * stands for anything")
    format: Literal["json", "python", "csv", "tsv", "dat", "lists"] | None = Field(
        None,
        description="json: an object a line; python: a literal a line; csv; tsv, also RecBole's "
        "atomic files; dat: fields between `::`; lists: a line for each user, which is the number "
        "of items and the items (default: by the ending of the name)",
    )
    columns: dict[str, str | int] = Field(
        default_factory=dict,
        description="name, or number from 0 on where there is no header, of user, item, time, "
        "position and rating; of item, title, year and genres",
    )
    encoding: str = Field("utf-8", description="of texts that are not JSON")
    time_format: str | None = Field(None, description="strptime's; else times are numbers")


class Tables(BaseModel):
    """The tables of a public source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interactions: Table
    items: Table | None = None
    unrated: bool = Field(False, description="the catalogue has items without interactions too")


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
    own = {key: value for key, value in content.items() if key not in ("family", "category")}
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
