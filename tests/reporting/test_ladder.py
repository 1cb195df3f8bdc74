"""The ladder of a method: rungs in their order, shares of the gain, and the sentence they say."""

import re

import numpy as np
import pytest

from bench.evaluation.metrics import parse_metric
from bench.records.ladder import ladders
from bench.reporting.formatting import MISSING
from bench.reporting.render import render, selected

NDCG = parse_metric("ndcg@20")


def climb(bench, **skills):
    """`none`, and dllm2rec under each teacher with its skill; label smoothing by its method."""
    bench.done("none", 2, skill=0.2)
    for teacher, skill in skills.items():
        name = teacher.replace("_", "-")
        if name.startswith("label-smoothing"):
            bench.done(name, 2, skill=skill, teacher=None, teacher_fingerprint=None)
        else:
            bench.done("dllm2rec", 2, skill=skill, teacher=name)


@pytest.fixture
def climbed(bench):
    climb(
        bench,
        text=0.5,
        my_llm=0.6,
        counting_knn=0.3,
        counting_ease=0.35,
        label_smoothing=0.25,
        self_sasrec=0.22,
        text_random=0.4,
        text_shuffled=0.38,
        raw_text=0.41,
        l3ae=0.45,
    )
    bench.done("dllm2rec", 2, skill=0.21, teacher="text", control="shuffled")
    bench.done("dllm2rec", 2, skill=0.21, teacher="text", control="popularity")
    return bench


def ladder_of(bench):
    board, runs = selected(bench.store, ["ndcg@20"])
    (ladder,) = ladders(board, runs)
    return ladder


def test_rungs_are_in_their_order_and_the_best_teacher_is_the_top(climbed):
    ladder = ladder_of(climbed)
    teachers = ladder.lines["teacher"].fillna("").tolist()
    assert (ladder.method, ladder.teacher) == ("dllm2rec", "my-llm")
    assert teachers == [
        *("", "", "self-sasrec", "counting-knn", "counting-ease", "text"),
        *("text-random", "text-shuffled", "raw-text", "l3ae", "text", "my-llm"),
    ]
    assert ladder.lines["control"].tolist()[5] == "shuffled"
    assert ladder.closest["teacher"] == "text-random"


def test_shares_are_of_the_gain_of_the_top_on_the_same_examples(climbed):
    ladder = ladder_of(climbed)
    ranks = {
        key: np.mean([NDCG.per_row(climbed.outcome(key, s).ranks) for s in range(2)], axis=0)
        for key in (0.2, 0.3, 0.6)
    }
    wanted = (ranks[0.3] - ranks[0.2]).mean() / (ranks[0.6] - ranks[0.2]).mean()
    line = ladder.lines[ladder.lines["teacher"] == "counting-knn"].iloc[0]
    assert line["share"] == pytest.approx(wanted)
    assert line["share_low"] < wanted < line["share_high"]
    top = ladder.lines.iloc[-1]
    assert (top["share"], top["share_low"], top["share_high"]) == pytest.approx((1, 1, 1))
    assert np.isnan(ladder.lines.iloc[0]["share"])


def test_the_report_says_what_is_matched_and_what_is_left(climbed):
    text = render(climbed.store)
    assert "**The ladder of dllm2rec on sasrec: what of its gain needs its teacher**" in text
    (sentence,) = re.findall(r"- (Of dllm2rec's gain under my-llm .*)", text)
    percent = r"-?[0-9]+ % \(-?[0-9]+ to -?[0-9]+\)"
    assert re.fullmatch(
        r"Of dllm2rec's gain under my-llm \(\+[0-9.]+ %\), "
        rf"label smoothing \(label-smoothing\) matches {percent}, "
        rf"the student itself \(self-sasrec\) matches {percent}, "
        rf"counting \(counting-ease\) matches {percent}, "
        rf"a shuffled teacher \(text\) matches {percent}, "
        rf"random vectors \(text-random\) matches {percent}, "
        rf"texts of other items \(text-shuffled\) matches {percent}; "
        rf"{percent} is left beyond the best of these, random vectors\.",
        sentence,
    )
    line = next(x for x in text.splitlines() if x.startswith("| no teacher"))
    assert line.count(MISSING) >= 4


def test_a_method_without_a_teacher_in_the_place_of_its_own_has_no_ladder(bench):
    climb(bench, text=0.5)
    bench.done("dllm2rec", 2, skill=0.3, teacher="text", control="shuffled")
    bench.done("label-smoothing", 2, skill=0.3, teacher=None, teacher_fingerprint=None)
    bench.done("rd", 2, skill=0.3)
    board, runs = selected(bench.store, ["ndcg@20"])
    assert ladders(board, runs) == []
    assert "ladder" not in render(bench.store)


def test_a_gain_that_may_be_none_is_no_whole(bench):
    climb(bench, text=0.2, self_sasrec=0.3)
    ladder = ladder_of(bench)
    assert ladder.lines["share"].isna().all()
    assert "is left beyond" not in render(bench.store)
    board, runs = selected(bench.store, ["ndcg@20"], against="dllm2rec")
    assert ladders(board, runs) == []
