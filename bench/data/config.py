"""Typed configuration of datasets and protocols (imports neither numpy nor torch)."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from bench.config import layers
from bench.data.synthetic_config import MARK, SyntheticConfig, is_synthetic
from bench.errors import ConfigError, UnknownNameError
from bench.paths import Workspace

ProtocolName = Literal["temporal", "leave-one-out"]

FIRST_TARGET = {"temporal": 10, "leave-one-out": 1}
"""Earliest target position of a long enough user, where the configuration does not say."""


class ProtocolConfig(BaseModel):
    """How ordered interactions become prediction rows, and rows become splits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ProtocolName
    history: PositiveInt = Field(10, description="most recent items that a row shows")
    first_target: PositiveInt = Field(
        FIRST_TARGET["temporal"],
        description="a user with n interactions has targets from position min(this, n - 1) on "
        "(default: 10 for temporal, 1 for leave-one-out)",
    )

    @model_validator(mode="before")
    @classmethod
    def _default_of_the_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("name"), str):
            default = FIRST_TARGET.get(values["name"])
            return values if default is None else {"first_target": default, **values}
        return values

    @property
    def slug(self) -> str:
        """Name of the folder of the prepared rows, such as `temporal-10`."""
        start = "" if self.first_target == FIRST_TARGET[self.name] else f"-from{self.first_target}"
        return f"{self.name}-{self.history}{start}"


class Filters(BaseModel):
    """Interactions that are left out before rows are made; none by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_rating: float | None = Field(None, description="least rating of a kept interaction")
    user_core: NonNegativeInt = Field(0, description="least interactions of a kept user")
    item_core: NonNegativeInt = Field(0, description="least interactions of a kept item")


class Published(BaseModel):
    """Counts of the publication that the dataset follows, for comparison."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    users: PositiveInt | None = None
    items: PositiveInt | None = None
    interactions: PositiveInt | None = None
    train: PositiveInt | None = None
    valid: PositiveInt | None = None
    test: PositiveInt | None = None


class Download(BaseModel):
    """One file of a public source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    urls: list[str] = Field(min_length=1, description="mirrors, the first one preferred")
    sha256: str | None = Field(None, description="expected hash; else only the gzip is verified")


class DatasetConfig(BaseModel):
    """Where a dataset comes from, and how it is evaluated unless a run says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str = Field("", description="one line for `bench list datasets`")
    source: Literal["movielens-100k", "amazon-2018", "synthetic", "import"] = Field(
        "import", description="what makes the interactions; `import` waits for `bench data import`"
    )
    synthetic: SyntheticConfig | None = Field(None, description="synthetic: what to draw")
    reviews: Download | None = Field(None, description="amazon-2018: reviews, JSON lines")
    metadata: Download | None = Field(None, description="amazon-2018: item metadata, JSON lines")
    protocol: ProtocolConfig = Field(
        default_factory=lambda: ProtocolConfig(name="temporal"),
        description="protocol of a run that names none",
    )
    filters: Filters = Field(default_factory=Filters)
    published: Published | None = None
    licence: str = ""
    citation: str = ""

    @model_validator(mode="after")
    def _downloads_are_known(self) -> DatasetConfig:
        if self.source == "amazon-2018" and not (self.reviews and self.metadata):
            raise ValueError("source amazon-2018 needs 'reviews' and 'metadata'")
        if (self.source == "synthetic") != (self.synthetic is not None):
            raise ValueError("source synthetic needs 'synthetic', and no other source takes it")
        return self

    def protocol_named(self, name: str | None) -> ProtocolConfig:
        """The dataset's own protocol for its name or None, else the named one with its defaults.

        Raises:
            UnknownNameError: no protocol has this name.
        """
        if name in (None, self.protocol.name):
            return self.protocol
        if name not in FIRST_TARGET:
            raise UnknownNameError("protocol", str(name), FIRST_TARGET)
        return layers.build(ProtocolConfig, {"name": name}, "--protocol")


DATASET_FILE = "dataset.json"
"""Configuration of an imported dataset without a YAML, beside its source."""


def dataset_names(workspace: Workspace) -> list[str]:
    """Names of the configured and of the imported datasets, sorted."""
    imported = workspace.datasets.glob(f"*/source/{DATASET_FILE}")
    return sorted({*layers.names("datasets", workspace), *(p.parent.parent.name for p in imported)})


def dataset_config(name: str, workspace: Workspace) -> DatasetConfig:
    """The configuration of a dataset: its YAML, else what its import stored.

    Raises:
        UnknownNameError: neither configured nor imported.
        ConfigError: it cannot be understood, or is synthetic under a name that does not say so.
    """
    if name in layers.names("datasets", workspace):
        where = str(layers.locate("datasets", name, workspace))
        config = layers.build(DatasetConfig, layers.read("datasets", name, workspace), where)
        if config.synthetic and not is_synthetic(name):
            raise ConfigError(
                f"{where}: a synthetic dataset must say so in every table: call it such as "
                f"'{name}-{MARK}'"
            )
        return config
    if name not in dataset_names(workspace):
        raise UnknownNameError("dataset", name, dataset_names(workspace))
    path = workspace.datasets / name / "source" / DATASET_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return layers.build(DatasetConfig, content, str(path))
