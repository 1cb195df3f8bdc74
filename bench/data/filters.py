"""Filters of interactions: least rating, k-core."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.data.config import Filters
from bench.data.interactions import Interactions
from bench.errors import DataError


def apply(data: Interactions, filters: Filters) -> Interactions:
    """Leave out interactions; with any filter the catalogue is what is left.

    The rating filter acts first; then users and items below their core are dropped until none is.

    Raises:
        DataError: a rating filter without ratings, or a filter of labelled splits.
    """
    if filters == Filters():
        return data
    if data.split is not None:
        raise DataError(f"{data.origin}: has split labels, which filters would contradict")
    keep = np.ones(len(data), dtype=bool)
    if filters.min_rating is not None:
        if data.rating is None:
            raise DataError(f"{data.origin}: has no ratings for filters.min_rating")
        keep &= data.rating >= filters.min_rating
    while True:
        enough = keep.copy()
        for ids, least in ((data.user, filters.user_core), (data.item, filters.item_core)):
            enough &= np.bincount(ids[keep], minlength=ids.max() + 1)[ids] >= least
        if (enough == keep).all():
            break
        keep = enough
    if not keep.any():
        raise DataError(f"{data.origin}: the filters leave no interactions")
    dropped = f"filters dropped {(~keep).sum():,} interactions"
    return replace(data.keep(keep), report=[*data.report, dropped])
