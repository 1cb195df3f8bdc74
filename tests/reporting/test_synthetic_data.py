"""Nobody reads a table of synthetic data without being told that it is one."""

import re

import pytest

from bench.reporting.render import render


@pytest.fixture
def filled(bench):
    for dataset in ("toy", "toy-synthetic"):
        bench.done("none", dataset=dataset)
        bench.done("dllm2rec", skill=0.4, dataset=dataset)
    return bench


@pytest.mark.parametrize("form", ["markdown", "latex", "html"])
def test_the_words_stand_above_the_tables_of_synthetic_data_alone(filled, form):
    both = render(filled.store, form)
    assert both.count("Synthetic data: drawn by a generator") == 1
    assert "Synthetic data" not in render(filled.store, form, datasets=["toy"])


def test_every_table_and_record_names_it(filled):
    latex = render(filled.store, "latex", datasets=["toy-synthetic"])
    captions = re.findall(r"\\caption\{(.*)\}", latex)
    assert captions and all("toy-synthetic" in caption for caption in captions)
    lines = render(filled.store, "csv", datasets=["toy-synthetic"]).splitlines()[1:]
    assert lines and all("toy-synthetic" in line for line in lines)
