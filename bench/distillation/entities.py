"""The items of a batch as vectors: the student's beside the teacher's."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor

from bench.distillation import Batch, MethodConfig, Output
from bench.distillation.losses import covered_mean
from bench.distillation.projectors import normalised, principal_components


class ItemConfig(MethodConfig):
    """Settings of every method that compares item vectors."""

    normalise: Literal["standardise", "l2", "none"] = Field(
        "standardise", description="the teacher's vectors: per dimension, per item, or untouched"
    )
    pca_dim: PositiveInt | None = Field(
        256, description="keep this many principal components of wider teachers; null: all"
    )
    max_items: PositiveInt = Field(2048, description="items of a batch used, drawn if it has more")


class ItemVectors:
    """What a method compares: vectors of the different items of a batch."""

    def __init__(self, embeddings: Tensor, config: ItemConfig) -> None:
        """Args: embeddings: float32 [N + 1, D], the teacher's; row 0 is padding."""
        self.teacher = teacher_table(embeddings, config.normalise, config.pca_dim)
        self.at_most = config.max_items

    @property
    def width(self) -> int:
        """Size of the teacher's vectors, D at most."""
        return self.teacher.shape[1]

    def take(self, batch: Batch, output: Output) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors of the E items of a step.

        Returns:
            the student's float32 [E, d], rows of its scoring table; the teacher's float32 [E, D];
            and bool [E], False where there is no item and both vectors are zero.
        """
        ids, present = batch_items(batch, self.at_most)
        student = F.embedding(ids, output.table).masked_fill(~present.unsqueeze(1), 0.0)
        return student, self.teacher[ids], present


def batch_items(batch: Batch, at_most: int) -> tuple[Tensor, Tensor]:
    """The different items of the histories and targets of a batch, in no order.

    How many there are is known to the device alone, and asking would make the host wait. So the
    answer has a fixed size, E = min(at_most, B (L + 1)), and says where it holds an item.

    Returns:
        ids int64 [E], a uniform draw of them if there are more than `at_most`, and bool [E]; ids
        are 0 where it is False.
    """
    ids = torch.cat([batch.history.flatten(), batch.target]).sort().values
    new = ids > F.pad(ids[:-1], (1, 0))  # the first of equals; 0 is none
    draw = torch.rand(ids.shape, generator=batch.generator, device=ids.device)
    size = min(at_most, ids.shape[0])
    chosen = draw.masked_fill(~new, 2.0).topk(size, largest=False).indices
    present = new[chosen]
    return ids[chosen].masked_fill(~present, 0), present


def teacher_table(embeddings: Tensor, normalise: str, pca_dim: int | None) -> Tensor:
    """The teacher's vectors as a regression or a topology reads them.

    Rescaled as a whole to entries of mean square 1, so that weights mean the same for every
    teacher; principal components keep their spread, for equal ones would be another geometry.

    Args:
        embeddings: float32 [N + 1, D]; row 0 is padding.
        normalise: `none` is untouched; but principal components are those of centred vectors.
        pca_dim: size of the result where D is larger; None keeps D.

    Returns:
        float32 [N + 1, min(D, pca_dim)]; row 0 is zero.
    """
    vectors = normalised(embeddings[1:], normalise)
    if pca_dim is not None and pca_dim < vectors.shape[1]:
        vectors = principal_components(vectors, pca_dim)
    if normalise != "none":
        vectors = vectors / vectors.square().mean().sqrt().clamp(min=1e-12)
    return F.pad(vectors, (0, 0, 1, 0))


def squared_error(predicted: Tensor, wanted: Tensor, present: Tensor) -> Tensor:
    """Mean over the items that are `present` [E] of the mean squared entry of a difference."""
    return covered_mean((predicted - wanted).square().mean(dim=1), present)


def directions(vectors: Tensor) -> Tensor:
    """Vectors [E, D] at length 1; those of (almost) no length stay so, with bounded gradients."""
    return F.normalize(vectors, dim=1, eps=1e-4)
