"""RecBole's models; the only file that imports recbole.

A model is built by composition: RecBole's class is instantiated with a plain mapping of its own
defaults and a stand-in for its dataset. RecBole's `Config` is not used, since it reads
`sys.argv`, sets NumPy globals and keeps unknown keys; neither are its loaders and trainer.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import torch

from bench.students import properties
from bench.students.config import StudentConfig

_FIELDS = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "LIST_SUFFIX": "_list",
    "ITEM_LIST_LENGTH_FIELD": "item_length",
    "NEG_PREFIX": "neg_",
    # Read by BERT4Rec alone, for a loss that the suite does not use.
    **dict.fromkeys(("MASK_ITEM_SEQ", "POS_ITEMS", "NEG_ITEMS", "MASK_INDEX"), ""),
    # RecBole's models insist on one of their own losses; the suite's objectives replace it.
    "loss_type": "CE",
}


@dataclass(frozen=True)
class _Catalogue:
    """All that a sequential RecBole model asks of a dataset."""

    counts: dict[str, int]

    def num(self, field: str) -> int:
        return self.counts[field]

    @property
    def user_num(self) -> int:
        return self.counts["user_id"]

    @property
    def item_num(self) -> int:
        return self.counts["item_id"]


def build_model(config: StudentConfig, history: int, n_items: int, n_users: int) -> Any:
    """A RecBole model; parameters are drawn from torch's global generator.

    Args:
        config: the model and its hyper-parameters.
        history: items that it reads at most.
        n_items: N, without padding.
        n_users: without padding.
    """
    counts = {"item_id": n_items + 1, "user_id": n_users + 1}
    return _model_class(config.model)(model_settings(config, history), _Catalogue(counts))


def model_settings(config: StudentConfig, history: int) -> dict[str, Any]:
    """All that a RecBole model reads of its configuration, in plain values.

    Args:
        config: which model, and its hyper-parameters.
        history: how many items it reads at most.
    """
    known = properties.environment() | properties.defaults(config.model) | config.parameters
    return known | _FIELDS | {"MAX_ITEM_LIST_LENGTH": history, "device": "cpu"}


def _model_class(name: str) -> type:
    # Importing RecBole's models switches autograd's anomaly detection on for the whole process,
    # which checks every gradient for NaN and costs a sixth of each step.
    before = torch.is_anomaly_enabled()
    try:
        module = importlib.import_module(f"recbole.model.sequential_recommender.{name.lower()}")
    finally:
        torch.autograd.set_detect_anomaly(before)
    return getattr(module, name)
