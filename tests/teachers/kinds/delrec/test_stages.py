"""Both stages learn what they should, touch nothing else, and go on where they were killed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError, ConfigError
from bench.plan import seed_of
from bench.teachers.kinds.delrec.adalora import AdaLoRA
from bench.teachers.kinds.delrec.pattern_stage import PatternStage
from bench.teachers.kinds.delrec.questions import ListedRows
from bench.teachers.kinds.delrec.ranking_stage import RankingStage
from bench.teachers.kinds.delrec.soft_prompts import EncoderDecoder
from bench.teachers.kinds.delrec.stages import Schedule, Stage, Work, batch_of, fit
from bench.teachers.kinds.delrec.task_weights import task_weights

from ....listening import listening
from . import colours

WORK = Work(batch_size=8, at_once=8, looked_at=40, seed=0)
RANKS = {"rank": 12, "target_rank": 6, "alpha": 24, "dropout": 0.0}


def schedule(steps: int, rate: float, looks: int = 2) -> Schedule:
    return Schedule(steps=steps, warm_up=0.1, learning_rate=rate, weight_decay=0.0, looks=looks)


def listed(count: int, seed: int) -> ListedRows:
    """Rows that end with a golden item; a recommender lists one first, then any."""
    random = np.random.default_rng(seed)
    rows = colours.make_rows(count, seed)
    last = random.integers(colours.GOLD, colours.N_ITEMS + 1, count)
    rows.history[np.arange(count), rows.length - 1] = last
    first = random.integers(colours.GOLD, colours.N_ITEMS + 1, (2, count, 1))
    others = random.random((2, count, colours.GOLD - 1)).argsort(axis=2)[:, :, :2] + 1
    lists = np.concatenate([first, others], axis=2).astype(np.int32)
    return ListedRows(rows, lists[0], lists[1])


class Made:
    """A model and both stages on it."""

    def __init__(self, folder: Path, steps: int, work: Work = WORK) -> None:
        language, titles = colours.read(folder)
        self.model = language.model
        asking = colours.asking(titles)
        self.prompted = EncoderDecoder(language, titles, vectors=6, seed=0)
        known = listed(200, 0), listed(60, 1)
        self.weights = {name: one.clone() for name, one in self.model.state_dict().items()}
        self.patterns = PatternStage(self.prompted, asking, *known, 0.5, work)
        self.arguments = (asking, *known, 0.1, work)
        self.steps = steps

    def ranking(self) -> RankingStage:
        torch.manual_seed(0)
        self.adalora = AdaLoRA(self.model, ["q", "v"], steps=self.steps, **RANKS)
        return RankingStage(self.prompted, self.adalora, *self.arguments)

    def unchanged(self) -> bool:
        """Every weight that the model was loaded with has the bits that it had."""
        now = {
            name.replace(".base_layer", ""): one for name, one in self.model.state_dict().items()
        }
        return all(torch.equal(now[name], one) for name, one in self.weights.items())


@torch.no_grad()
def hits(stage: RankingStage) -> float:
    """Share of the held out questions whose answer is the model's first candidate."""
    scores = stage.prompted.eval().scores(stage.held_out_questions)
    answers = torch.tensor([question.answer for question in stage.held_out_questions])
    return float((scores.argmax(dim=1) == answers).float().mean())


@dataclass
class Seen:
    """What was seen before a stage and after it."""

    made: Made
    story: dict[str, Any]
    losses: list[dict[str, float]] = field(default_factory=list)
    hits: list[float] = field(default_factory=list)
    soft: list[torch.Tensor] = field(default_factory=list)
    adapters: list[dict[str, torch.Tensor]] = field(default_factory=list)


@pytest.fixture(scope="module")
def first(colours_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    seen = Seen(Made(colours_folder, steps=1), {})
    file = tmp_path_factory.mktemp("first") / "state.pt"

    def look() -> None:
        seen.losses.append(seen.made.patterns.held_out_losses())
        seen.soft.append(seen.made.prompted.soft.detach().clone())

    look()
    seen.story = fit(seen.made.patterns, schedule(30, 0.3), file, 0)
    look()
    return seen


@pytest.fixture(scope="module")
def second(colours_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The second stage alone, behind soft prompts that know nothing."""
    pytest.importorskip("peft", reason="needs the extra 'llm'")
    seen = Seen(Made(colours_folder, steps=60), {})
    file = tmp_path_factory.mktemp("second") / "state.pt"
    ranking = seen.made.ranking()

    def look() -> None:
        seen.hits.append(hits(ranking))
        seen.soft.append(seen.made.prompted.soft.detach().clone())
        seen.adapters.append({n: p.detach().clone() for n, p in ranking.parameters.items()})

    look()
    seen.story = fit(ranking, schedule(60, 0.01, looks=6), file, 0)
    look()
    seen.adapters.append(torch.load(file, weights_only=True)["parameters"])
    return seen


def test_stage_1_lowers_both_losses_and_changes_soft_prompts_alone(first: Seen) -> None:
    before, after = first.losses
    assert after["temporal"] < 0.5 * before["temporal"]
    assert after["pattern"] < 0.5 * before["pattern"]
    assert first.made.unchanged()
    assert bool((first.soft[0] != first.soft[1]).any(dim=1).all())
    curve = list(first.story["held_out_loss_by_step"].values())
    assert curve[0] == pytest.approx(sum(before.values()), abs=1e-4)
    assert min(curve) == pytest.approx(sum(after.values()), abs=1e-4)


def test_stage_2_learns_to_recommend(second: Seen) -> None:
    before, after = second.hits
    assert before < 0.3 and after > before + 0.35  # one of 6 by chance
    curve = second.story["held_out_loss_by_step"]
    assert min(curve.values()) < 0.5 * curve["0"]


def test_stage_2_changes_adalora_alone(second: Seen) -> None:
    before, after, _ = second.adapters
    assert before.keys() == after.keys() and len(before) == 3 * 2 * 3  # q, v of three attentions
    assert all("lora_" in name for name in before)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    # A change whose singular values are all pruned has the zeros that it began with.
    assert {name for name in before if "lora_E" not in name} < changed
    assert torch.equal(second.soft[0], second.soft[1])
    assert not second.made.prompted.soft.requires_grad
    assert second.made.unchanged()


def test_ranks_are_pruned_to_what_was_asked_for(second: Seen) -> None:
    *_, last = second.adapters
    singular = [values for name, values in last.items() if "lora_E" in name]
    assert sum(int((values != 0).sum()) for values in singular) <= len(singular) * 6
    assert sum(values.numel() for values in singular) == len(singular) * 12


def test_orthogonality_against_a_loop(second: Seen) -> None:
    norms = []
    for name, parameter in second.made.adalora.parameters.items():
        table = parameter.detach().double().numpy()
        if "lora_E" not in name:
            table = table if "lora_A" in name else table.T
            norms.append(np.sqrt(((table @ table.T - np.eye(len(table))) ** 2).sum()))
    found = float(second.made.adalora.orthogonality().detach())
    assert found == pytest.approx(np.mean(norms), rel=1e-5)


def test_gradients_of_stage_1_are_weighed_and_do_not_depend_on_the_parts(
    colours_folder: Path,
) -> None:
    whole = Made(colours_folder, steps=2).patterns
    whole.begin(3)
    small = Made(colours_folder, 2, Work(batch_size=8, at_once=3, looked_at=4, seed=0)).patterns
    small.begin(3)
    torch.testing.assert_close(whole.prompted.soft.grad, small.prompted.soft.grad)
    gradients = []
    for name, ask in whole.asks.items():
        seed = seed_of(0, whole.name, name)
        random = np.random.default_rng([seed, 3])
        chosen = batch_of(3, 8, whole.rows[name], seed)
        questions = [ask(whole.learned, int(row), random) for row in chosen]
        loss = whole.prompted.loss(questions) / 8
        gradients.append(torch.autograd.grad(loss, whole.prompted.soft)[0])
    first, second = task_weights(gradients, 0.5).tolist()
    torch.testing.assert_close(
        whole.prompted.soft.grad, first * gradients[0] + second * gradients[1]
    )


class Stopped(Exception):
    """The process ends here."""


def stop(line: str) -> None:
    if "step 2 of 4" in line:
        raise Stopped


@pytest.mark.parametrize("which", ["patterns", "ranking"])
def test_a_stage_that_was_stopped_ends_with_the_same_bits(
    which: str, colours_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="needs the extra 'llm'")

    def stage() -> Stage:
        made = Made(colours_folder, steps=4, work=Work(4, 4, 4, 0))
        return made.patterns if which == "patterns" else made.ranking()

    even, uneven = stage(), stage()
    pace = schedule(4, 0.05, looks=2)
    story = fit(even, pace, tmp_path / "even.pt", 0)
    with pytest.raises(Stopped), listening(stop):
        fit(uneven, pace, tmp_path / "uneven.pt", 0)
    again, lines = stage(), []
    torch.rand(3)
    with listening(lines.append):
        assert fit(again, pace, tmp_path / "uneven.pt", 0) == story
    assert "the first 2 steps are there from before" in lines[0] and len(lines) == 3
    for name, parameter in even.parameters.items():
        assert torch.equal(parameter, again.parameters[name]), name
    finished: list[str] = []
    last = stage()
    with listening(finished.append):
        assert fit(last, pace, tmp_path / "even.pt", 0) == story
    assert len(finished) == 1


# -- the loop itself -------------------------------------------------------------------------------


class Counting:
    """A stage whose parameter is the number of its steps, with held out losses as told."""

    name = "counting"

    def __init__(self, losses: list[float], seen: float = 1.0) -> None:
        self.parameters = {"steps": torch.nn.Parameter(torch.zeros(1))}
        self.losses, self.seen = iter(losses), seen

    def begin(self, step: int) -> float:
        self.parameters["steps"].grad = -torch.ones(1)
        return self.seen

    def end(self, step: int) -> None:
        assert self.parameters["steps"].grad is not None

    def held_out_loss(self) -> float:
        return next(self.losses)

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None: ...


@pytest.mark.parametrize(
    ("losses", "best"), [([5, 4, 3, 6], 4), ([5, 6, 7, 8], 0), ([5, 4, 4, 4.5], 2)]
)
def test_the_best_look_is_kept(losses: list[float], best: int, tmp_path: Path) -> None:
    stage = Counting(losses)
    pace = Schedule(steps=6, warm_up=0, learning_rate=1, weight_decay=0, looks=3)
    story = fit(stage, pace, tmp_path / "state.pt", 0)
    assert float(stage.parameters["steps"].detach()) == pytest.approx(
        sum(pace.factor(step) for step in range(best))
    )
    assert story["steps_of_best"] == best
    assert story["held_out_loss_by_step"] == dict(
        zip(["0", "2", "4", "6"], map(float, losses), strict=True)
    )


@pytest.mark.parametrize(
    "stage", [Counting([1, 1], seen=float("nan")), Counting([1, float("inf")])]
)
def test_a_loss_that_is_no_number_is_an_error(stage: Counting, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"counting: the loss became (nan|inf) in step 1; lower"):
        fit(stage, schedule(1, 0.1, looks=1), tmp_path / "state.pt", 0)
    assert not list(tmp_path.iterdir())


@given(st.integers(1, 50), st.floats(0, 0.99))
def test_rates_rise_then_fall_and_are_never_0(steps: int, warm_up: float) -> None:
    pace = Schedule(steps=steps, warm_up=warm_up, learning_rate=1, weight_decay=0)
    factors = [pace.factor(step) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    top = int(np.argmax(factors))
    assert all(a < b for a, b in itertools.pairwise(factors[: top + 1]))
    assert all(a >= b for a, b in itertools.pairwise(factors[top:]))


def test_batches_pass_through_all_rows_again_and_again() -> None:
    rows = np.array([3, 5, 8, 13, 21, 34, 55])
    drawn = np.concatenate([batch_of(step, 4, rows, 9) for step in range(7)])
    passes = drawn.reshape(4, 7)
    assert all(sorted(one.tolist()) == rows.tolist() for one in passes)
    assert len({tuple(one) for one in passes.tolist()}) > 1
    assert batch_of(2, 4, rows, 9).tolist() == drawn[8:12].tolist()
    assert batch_of(0, 20, rows, 9).tolist() == drawn[:20].tolist()


# -- errors ----------------------------------------------------------------------------------------


def test_rows_that_are_too_short(colours_folder: Path) -> None:
    language, titles = colours.read(colours_folder)
    prompted = EncoderDecoder(language, titles, vectors=2, seed=0)
    known = listed(9, 0)
    short = ListedRows(colours.make_rows(9, 0), known.following, known.preceding)
    short.rows.length[:] = 2
    with pytest.raises(BenchError, match=r"histories of 4 items or more, and none of 9 rows"):
        PatternStage(prompted, colours.asking(titles), short, short, 0.5, WORK)


def test_maps_that_the_model_does_not_have(colours_folder: Path) -> None:
    pytest.importorskip("peft", reason="needs the extra 'llm'")
    language, _ = colours.read(colours_folder)
    with pytest.raises(ConfigError, match="no linear maps named q_proj"):
        AdaLoRA(language.model, ["q_proj"], steps=5, **RANKS)
