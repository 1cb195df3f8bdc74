"""What training costs against `none` of the same cell."""

import io
import json
import re

import pandas as pd
import pytest

from bench.reporting.render import render, selected

LAPTOP = {"machine": "x86_64", "device": "cpu", "device_name": "b", "cores": 2, "threads": 2}


def done(bench, method, seconds, epochs=10, seeds=1, **changes):
    return bench.done(method, seeds, timings={"train_seconds": seconds}, epochs=epochs, **changes)


def entry_of(bench, method):
    board, _ = selected(bench.store, ["ndcg@20"])
    (entry,) = board[board["method"] == method].itertuples()
    return entry


def ratios(entry):
    """Training time as a multiple of `none`'s, by epoch and in total; None where not known."""
    epoch, total = entry.epoch_vs_none, entry.train_vs_none
    return None if pd.isna(epoch) and pd.isna(total) else (epoch, total)


def test_an_epoch_and_all_of_them_are_compared(bench):
    done(bench, "none", seconds=20.0, epochs=10)
    done(bench, "dllm2rec", seconds=90.0, epochs=30)
    entry = entry_of(bench, "dllm2rec")
    assert ratios(entry) == pytest.approx((1.5, 4.5))
    assert entry.epoch_seconds == pytest.approx(3.0)
    assert ratios(entry_of(bench, "none")) is None


def test_many_cheap_epochs_show_in_the_total(bench):
    """As of a method that trains in stages: 40 epochs of half the price are twice the training."""
    done(bench, "none", seconds=20.0, epochs=10)
    done(bench, "two-stages", seconds=40.0, epochs=40)
    assert ratios(entry_of(bench, "two-stages")) == pytest.approx((0.5, 2.0))
    text = render(bench.store)
    assert re.search(r"two-stages .*\| +0\.5x \|\n", text)
    assert re.search(r"two-stages .*\| +40 x 1\.0 s \| +40 s \(2\.0x\) \|", text)


def test_only_seeds_that_both_ran_count(bench):
    done(bench, "none", seconds=10.0, seeds=[0, 1])
    done(bench, "none", seconds=1000.0, seeds=[2])
    done(bench, "dllm2rec", seconds=20.0, seeds=[0, 1])
    done(bench, "dllm2rec", seconds=9000.0, seeds=[3])
    assert ratios(entry_of(bench, "dllm2rec")) == pytest.approx((2.0, 2.0))


def test_on_a_cpu_it_is_the_processor_that_counts(bench):
    """Other work beside lengthens the seconds of the clock, not those of the processor."""
    for device, ratio in (("cpu", 1.5), ("cuda", 6.0)):
        where = LAPTOP | {"device": device}
        for method, seconds, cpu in (("none", 10.0, 8.0), (f"on-{device}", 60.0, 12.0)):
            timings = {"train_seconds": seconds, "train_cpu_seconds": cpu}
            seeds = [0] if device == "cpu" else [1]
            bench.done(method, seeds, timings=timings, epochs=10, environment=where)
        found = ratios(entry_of(bench, f"on-{device}"))
        assert found == pytest.approx((ratio, ratio))


def test_seconds_of_two_kinds_are_not_compared(bench):
    done(bench, "none", seconds=10.0, environment=LAPTOP)
    timings = {"train_seconds": 30.0, "train_cpu_seconds": 12.0}
    bench.done("dllm2rec", 1, timings=timings, epochs=10, environment=LAPTOP)
    assert ratios(entry_of(bench, "dllm2rec")) is None


@pytest.mark.parametrize("missing", LAPTOP)
def test_a_machine_that_is_not_known_is_no_machine(bench, missing):
    where = {name: value for name, value in LAPTOP.items() if name != missing}
    done(bench, "none", seconds=10.0, environment=where)
    done(bench, "dllm2rec", seconds=30.0, environment=where)
    assert ratios(entry_of(bench, "dllm2rec")) is None


@pytest.mark.parametrize("what", LAPTOP)
def test_other_machines_are_not_compared(bench, what):
    done(bench, "none", seconds=10.0, seeds=[0, 1], environment=LAPTOP)
    done(bench, "dllm2rec", seconds=30.0, seeds=[0], environment=LAPTOP)
    done(bench, "dllm2rec", seconds=1.0, seeds=[1, 2], environment=LAPTOP | {what: "other"})
    done(bench, "elsewhere", seconds=1.0, environment=LAPTOP | {what: "other"})
    assert "with none's: sasrec (ce) elsewhere, teacher text.\n" in render(bench.store)
    assert ratios(entry_of(bench, "dllm2rec")) == pytest.approx((3.0, 3.0))
    assert ratios(entry_of(bench, "elsewhere")) is None


def test_times_of_two_machines_are_no_mean(bench):
    gpu = LAPTOP | {"device": "cuda", "device_name": "H100"}
    for seed, where, seconds, latency in ((0, LAPTOP, 900.0, 8.0), (1, gpu, 10.0, 0.5)):
        told = {"seconds": seconds, "latency": {"ms_p50": latency}}
        done(bench, "none", seeds=[seed], environment=where, **told)
    done(bench, "none", seconds=12.0, seeds=[2], environment=gpu, latency={"ms_p50": 0.5})
    done(bench, "hint", seconds=900.0, seeds=[0], environment=LAPTOP, latency={"ms_p50": 9.0})
    entry = entry_of(bench, "none")
    assert "H100" in entry.timed_on
    assert (entry.train_seconds, entry.latency_ms) == (11.0, 0.5)
    line = next(line for line in reversed(render(bench.store).splitlines()) if "| hint " in line)
    assert "9.00 ms" in line


def test_another_cell_or_objective_is_not_compared(bench):
    done(bench, "none", seconds=10.0, objective="bce")
    done(bench, "none", seconds=10.0, learning_rate=0.01)
    done(bench, "dllm2rec", seconds=20.0)
    assert ratios(entry_of(bench, "dllm2rec")) is None


@pytest.mark.parametrize("unknown", [{"seconds": float("nan")}, {"epochs": None}, {"epochs": 0}])
@pytest.mark.parametrize("whose", ["none", "dllm2rec"])
def test_records_without_times_have_no_ratio(bench, unknown, whose):
    for method in ("none", "dllm2rec"):
        done(bench, method, **({"seconds": 10.0} | (unknown if method == whose else {})))
    assert ratios(entry_of(bench, "dllm2rec")) is None
    line = next(line for line in render(bench.store).splitlines() if "| dllm2rec " in line)
    assert line.endswith("– |")  # noqa: RUF001 - the dash of tables


def test_formats_have_the_cost(bench):
    done(bench, "none", seconds=20.0)
    done(bench, "dllm2rec", seconds=28.0)
    text = render(bench.store)
    assert re.search(r"\| +p \| +Time \|", text) and re.search(r"\| +1\.4x \|", text)
    assert "Time: seconds of training per epoch" in text
    assert re.search(r"& +1\.4x \\\\", render(bench.store, "latex"))
    for lines in (json.loads(render(bench.store, "json")), of_csv(bench)):
        none, ours = (line for line in lines if line["metric"] == "ndcg@20")
        assert ours["epoch_vs_none"] == ours["train_vs_none"] == pytest.approx(1.4)
        assert pd.isna(none["epoch_vs_none"]) and ours["epochs"] == 10.0


def of_csv(bench):
    return pd.read_csv(io.StringIO(render(bench.store, "csv"))).to_dict("records")


def test_without_a_comparison_nothing_is_explained(bench):
    done(bench, "none", seconds=20.0)
    assert "Time:" not in render(bench.store)
