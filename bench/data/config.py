"""Typed configuration of datasets and protocols (imports neither numpy nor torch)."""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from bench import layers, limits
from bench.data.sources.download_config import FAMILY_KEYS, PlaceConfig, over_family
from bench.data.sources.synthetic_config import MARK, SyntheticConfig, is_synthetic
from bench.errors import ConfigError, UnknownNameError
from bench.paths import Workspace

ProtocolName = Literal["temporal", "timepoint", "leave-one-out", "given"]

FIRST_TARGET = {"temporal": 10, "timepoint": 1, "leave-one-out": 1, "given": 1}
"""Earliest target position of a long enough user, where the configuration does not say."""

SHARE = 0.1
"""Share of valid and of test, where the configuration does not say."""


def protocol_name(name: str | None) -> ProtocolName | None:
    """The name of a protocol, or None.

    Raises:
        UnknownNameError: no protocol has this name.
    """
    if name is None or name in FIRST_TARGET:
        return name  # type: ignore[return-value]
    raise UnknownNameError("protocol", name, FIRST_TARGET)


def _moment(value: Any) -> Any:
    """A day as `2018-01-01`, whether YAML took it for a date or not; numbers as they are."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return (
            int(value) if value.lstrip("-").isdecimal() else date.fromisoformat(value).isoformat()
        )
    return value


Moment = Annotated[int | str, BeforeValidator(_moment)]


class Filters(BaseModel):
    """Interactions that are left out before rows are made; none where a part is not given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: Moment | None = Field(
        None,
        description="earliest kept time: a date such as 2018-01-01 (UTC), or a number in the unit "
        "that the source's column has (of dates: seconds since 1970)",
    )
    until: Moment | None = Field(None, description="time from which on nothing is kept, as `since`")
    min_rating: float | None = Field(None, description="least rating of a kept interaction")
    repeats: Literal["keep", "first", "last"] | None = Field(
        None,
        description="which of a user's interactions with the same item are kept: all that differ "
        "in time (keep), the first or the last",
    )
    user_core: NonNegativeInt | None = Field(None, description="least interactions of a kept user")
    item_core: NonNegativeInt | None = Field(None, description="least interactions of a kept item")

    def over(self, other: Filters) -> Filters:
        """These filters, and the parts of `other` that they do not give."""
        return other.model_copy(update=self.model_dump(exclude_none=True))

    @property
    def slug(self) -> str:
        """The parts that are given, such as `-rating4-users5-items5`."""
        parts = {
            "since": self.since,
            "until": self.until,
            "rating": None if self.min_rating is None else f"{self.min_rating:g}",
            "": self.repeats,
            "users": self.user_core,
            "items": self.item_core,
        }
        return "".join(f"-{name}{value}" for name, value in parts.items() if value is not None)


Seen = Literal["rank", "mask"]
"""Whether items that the user had before are ranked."""


class DataIdentity(NamedTuple):
    """What trials know of prepared data.

    Attributes:
        fingerprint: of catalogue, rows and histories.
        seen: the rule that `protocol.seen=auto` stands for on them.
    """

    fingerprint: str
    seen: Seen


class ProtocolConfig(BaseModel):
    """How interactions become prediction rows, and rows become splits (docs/protocol.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ProtocolName = Field(description="how rows are split")
    history: PositiveInt = Field(10, description="most recent items that a row shows")
    first_target: PositiveInt = Field(
        FIRST_TARGET["temporal"],
        description="a user with n interactions has targets from position min(this, n - 1) on "
        "(default: 10 for temporal, else 1)",
    )
    valid_share: float = Field(SHARE, gt=0, lt=1, description="of temporal and timepoint")
    test_share: float = Field(SHARE, gt=0, lt=1, description="of temporal and timepoint")
    cold_targets: Literal["keep", "drop"] = Field(
        "keep", description="valid and test rows whose target is never a target of train"
    )
    seen: Seen | Literal["auto"] = Field(
        "auto",
        description="whether items that the user had before are ranked, or left out (mask), where "
        "epochs are chosen and in what a board shows first; records have both. `auto`: left out "
        "where under 1 % of the targets of train and valid repeat (`bench data info` says it)",
    )
    filters: Filters = Field(
        default_factory=Filters, description="what is given here replaces the dataset's own"
    )

    @model_validator(mode="before")
    @classmethod
    def _default_of_the_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("name"), str):
            default = FIRST_TARGET.get(values["name"])
            return values if default is None else {"first_target": default, **values}
        return values

    @model_validator(mode="after")
    def _shares_have_a_use(self) -> ProtocolConfig:
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share and test_share leave nothing for train")
        if self._shares and self.name not in ("temporal", "timepoint"):
            raise ValueError(f"valid_share and test_share do not concern {self.name}")
        return self

    @property
    def slug(self) -> str:
        """Name of the folder of the prepared rows, such as `temporal-10`: what is no default."""
        start = "" if self.first_target == FIRST_TARGET[self.name] else f"-from{self.first_target}"
        cold = "-nocold" if self.cold_targets == "drop" else ""
        return f"{self.name}-{self.history}{start}{self._shares}{cold}{self.filters.slug}"

    @property
    def _shares(self) -> str:
        if (self.valid_share, self.test_share) == (SHARE, SHARE):
            return ""
        return f"-valid{self.valid_share:g}-test{self.test_share:g}"


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


class DatasetConfig(BaseModel):
    """Where a dataset comes from, and how it is evaluated unless a run says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str = Field("", description="one line for `bench list datasets`")
    source: Literal["movielens-100k", "download", "synthetic", "import"] = Field(
        "import", description="what makes the interactions; `import` waits for `bench data import`"
    )
    tables: list[PlaceConfig] = Field(
        default_factory=list,
        description="download: places that hold the same interactions, the first one preferred",
    )
    file_order: bool = Field(
        False,
        description="download: ties of time stand in the order of the file, so that repeats are "
        "kept, and rows of equal time in the order in which their users appear in it; else ties "
        "are drawn (docs/protocol.md)",
    )
    unordered: bool = Field(
        False,
        description="download: the order of the file says nothing, so that of each user's items is "
        "drawn where there is no time",
    )
    titled_only: bool = Field(
        False,
        description="download: interactions of items without a title of two characters or more are "
        "left out before there are sequences; the items stay in the catalogue",
    )
    synthetic: SyntheticConfig | None = Field(None, description="synthetic: what to draw")
    stand_in: str | None = Field(
        None,
        description="synthetic dataset that is offered, never taken, where this is not to be had",
    )
    protocol: ProtocolConfig = Field(
        default_factory=lambda: ProtocolConfig(name="temporal"),
        description="protocol of a run that names none",
    )
    filters: Filters = Field(default_factory=Filters)
    published: Published | None = None
    licence: str = ""
    citation: str = ""

    @model_validator(mode="after")
    def _source_is_described(self) -> DatasetConfig:
        if (self.source == "download") != bool(self.tables):
            raise ValueError("source download needs 'tables', and no other source takes them")
        if self.source != "download" and (self.file_order or self.unordered or self.titled_only):
            raise ValueError("file_order, unordered and titled_only are for source download")
        if self.file_order and self.unordered:
            raise ValueError("the order of the file is part of the data (file_order) or none")
        if (self.source == "synthetic") != (self.synthetic is not None):
            raise ValueError("source synthetic needs 'synthetic', and no other source takes it")
        return self

    def filters_under(self, protocol: ProtocolConfig) -> Filters:
        """The filters of the rows of a protocol: its own, and the dataset's where it gives none."""
        return protocol.filters.over(self.filters)

    def protocol_named(self, name: str | None) -> ProtocolConfig:
        """The dataset's own protocol for its name or None, else the named one with its defaults.

        Raises:
            UnknownNameError: no protocol has this name.
        """
        if name in (None, self.protocol.name):
            return self.protocol
        return layers.build(ProtocolConfig, {"name": protocol_name(name)}, "--protocol")


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
        content = over_family(layers.read("datasets", name, workspace), where, workspace)
        config = layers.build(DatasetConfig, content, where, also=FAMILY_KEYS)
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
        content = json.loads(limits.read_whole(path, limits.RECORD))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if isinstance(content, dict):  # what an earlier version left empty may exist no more
        content = {key: value for key, value in content.items() if value is not None}
    return layers.build(DatasetConfig, content, str(path))
