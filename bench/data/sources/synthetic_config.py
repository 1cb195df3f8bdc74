"""Typed configuration of synthetic datasets (imports neither numpy nor torch)."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

MARK = "synthetic"
"""Part of the name of every synthetic dataset, so that no table shows one without saying so."""

GENERATOR = 1
"""Version of `sources.synthetic`; raised whenever the same settings draw something else."""

Share = Annotated[float, Field(ge=0, le=1)]


class SyntheticConfig(BaseModel):
    """A world with planted structure; `sources.synthetic` says what its quantities mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: PositiveInt
    items: PositiveInt
    interactions: PositiveInt
    seed: NonNegativeInt = 0
    least: PositiveInt = Field(5, description="interactions that every user has at least")
    activity: NonNegativeFloat = Field(
        1.3, description="how unequally users share the rest (sigma of a lognormal distribution)"
    )
    zipf: NonNegativeFloat = Field(0.8, description="popularity is rank ** -zipf")
    dimensions: PositiveInt = Field(16, description="d, width of the latent space")
    spread: NonNegativeFloat = Field(0.7, description="distance of items from their cluster")
    interest: NonNegativeFloat = Field(2.0, description="weight of what the user likes")
    drift: Share = Field(0.2, description="share of an interest that is new at every step")
    sequence: NonNegativeFloat = Field(6.0, description="weight of what follows the last item")
    text: Share = Field(0.7, description="share of title words that tell where an item lies")

    @model_validator(mode="after")
    def _enough_for_all_users(self) -> SyntheticConfig:
        if self.interactions < self.least * self.users:
            raise ValueError(
                f"interactions must be at least users x least = {self.least * self.users:,} "
                f"(given: {self.interactions:,})"
            )
        return self

    @property
    def origin(self) -> str:
        """One line that tells everything the data depend on."""
        settings = ", ".join(f"{name} {value:g}" for name, value in self)
        return f"synthetic, generator {GENERATOR}: {settings}"


def is_synthetic(dataset: str) -> bool:
    """Whether a dataset of this name says that it is synthetic."""
    return MARK in dataset
