"""Every shipped variant of every method (`configs/methods/`)."""

from __future__ import annotations

import numpy as np
import pytest

from bench import layers
from bench.config.methods import read_method
from bench.data.examples import PreparedData
from bench.distillation import Knowledge
from bench.paths import SHIPPED, Workspace
from bench.registry import METHODS

from .conftest import make_trial, run

HERE = Workspace(SHIPPED)
VARIANTS = [
    (entry.name, variant) for entry in METHODS for variant in read_method(entry, HERE).variants
]


@pytest.mark.parametrize(("method", "variant"), VARIANTS)
def test_a_variant_is_another_method_and_trains(
    method: str, variant: str, data: PreparedData, knowledge: Knowledge
) -> None:
    entry = METHODS.get(method)
    config, file = METHODS.load(entry.name).Config, read_method(entry, HERE)
    settings = layers.merge(file.settings, file.variants[variant])  # as a run lays them over it
    assert config.model_validate(settings) != config.model_validate(file.settings)
    if variant == "single-teacher":
        settings = settings | {"teachers": knowledge.trajectory_names[:1]}
    training = {"objective": "dros", "max_epochs": 1}
    outcome = run(make_trial(method, settings=settings, training=training), data, knowledge)
    assert all(np.isfinite(list(epoch.values())).all() for epoch in outcome.curve)


def test_the_single_teacher_of_hetcomp_is_a_member_of_the_ensemble() -> None:
    chosen = read_method(METHODS.get("hetcomp"), HERE).variants["single-teacher"]["teachers"]
    options = layers.read("teachers", "ensemble", HERE)["options"]
    assert set(chosen) <= set(options["members"])


TAUGHT = [entry.name for entry in METHODS if entry.needs and entry.is_shipped]


@pytest.mark.parametrize("method", TAUGHT)
def test_every_method_is_searched_with_the_same_budget_its_default_among_it(method: str) -> None:
    entry = METHODS.get(method)
    file, config = read_method(entry, HERE), METHODS.load(entry.name).Config
    searched = [config.model_validate(layers.merge(file.settings, p)) for p in file.search]
    assert len(searched) == 3 and len({c.model_dump_json() for c in searched}) == 3
    chosen = [file.settings, *(layers.merge(file.settings, s) for s in file.datasets.values())]
    assert all(config.model_validate(settings) in searched for settings in chosen)
