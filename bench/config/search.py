"""Which settings of a method `bench tune` compares: those listed, or as many drawn from ranges."""

from __future__ import annotations

import math
import random
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

from bench import layers
from bench.errors import ConfigError


class Interval(BaseModel):
    """Numbers from `low` to `high`, ends included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    high: float
    scale: Literal["linear", "log"] = Field("linear", description="on which draws are uniform")
    whole: bool = Field(False, description="whole numbers only")

    @model_validator(mode="after")
    def _can_be_drawn_from(self) -> Interval:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low ({self.low:g}) must be less than high ({self.high:g})")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"a log scale begins above 0, not at {self.low:g}")
        if self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"whole numbers lie between whole ends, not {self.low}, {self.high}")
        return self

    def draw(self, source: random.Random) -> float | int:
        """One of the numbers; of others four digits are kept, so that a table can show them."""
        if self.scale == "log":
            value = math.exp(source.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = source.uniform(self.low, self.high)
        if self.whole:
            return min(max(round(value), int(self.low)), int(self.high))
        return min(max(float(f"{value:.4g}"), self.low), self.high)


class Choice(BaseModel):
    """One of some values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: list[Any] = Field(min_length=1)

    def draw(self, source: random.Random) -> Any:
        """One of the values."""
        return source.choice(self.values)


def _range(given: Any) -> Any:
    """`[1, 2]` is short for one of these values."""
    return Choice.model_validate({"values": given}) if isinstance(given, list) else given


Range = Annotated[Interval | Choice, BeforeValidator(_range)]


class Search(BaseModel):
    """What a search compares.

    Attributes:
        samples: settings that are drawn of each method; None takes those that its file lists.
        seed: of the draws.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: PositiveInt | None = None
    seed: int = Field(0, ge=0)

    def settings(
        self, method: str, listed: list[dict[str, Any]], ranges: dict[str, Range]
    ) -> list[dict[str, Any]]:
        """The settings of one method, as many of each; one that nothing is said of, as it is.

        A method draws the same whatever other methods are searched, and more samples begin with
        the fewer ones.

        Args:
            method: name of the method.
            listed: under `search` in its file.
            ranges: under `ranges` there, by dotted key.

        Raises:
            ConfigError: draws are asked for of a method whose file lists settings and no ranges.
        """
        if self.samples is None:
            return listed or [{}]
        if not ranges and listed:
            raise ConfigError(
                f"--samples {self.samples}: the file of {method} has no `ranges` to draw from"
            )
        if not ranges:
            return [{}]
        source = random.Random(f"{self.seed} {method}")  # noqa: S311 - the same for everybody
        return [_placed(ranges, source) for _ in range(self.samples)]


def _placed(ranges: dict[str, Range], source: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in sorted(ranges):
        layers.place(found, key, ranges[key].draw(source))
    return found
