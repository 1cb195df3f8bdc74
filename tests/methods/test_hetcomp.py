"""HetComp's losses and phases against sums over orders, items and rows."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bench.distillation import Knowledge
from methods.hetcomp.method import HetComp
from methods.hetcomp.transfer import relaxed_loss, strict_loss

from .conftest import HISTORY, N_ITEMS, N_ROWS, dense, make_student, output
from .heterogeneous import STATES, TEACHERS, allowed, batch_of, excluded, toy_knowledge

OFFICIAL = {"reduction": "sum", "relaxed": {"weight": 0.01}, "strict": {"weight": 0.005}}


def attached(knowledge: Knowledge, **settings: object) -> HetComp:
    torch.manual_seed(3)
    method = HetComp(HetComp.Config(**settings))
    method.attach(make_student(), knowledge)
    return method


def log_sum(values: list[float]) -> float:
    return math.log(sum(map(math.exp, values)))


# Six items: the target 0, the list 1, 2, 3 and the rest 4, 5.
SIX = [0.4, -1.2, 2.0, 0.7, -0.3, 1.1]


def of_six(share: float | None, top: int | None = None) -> float:
    s = torch.tensor([SIX], dtype=torch.float64)
    given = (s[:, 0], s[:, 1:4], torch.ones(1, 3, dtype=torch.bool), s[:, 4:].logsumexp(dim=1))
    return float(relaxed_loss(*given, share) if top is None else strict_loss(*given, top, share))


def order_probability(best: list[int], items: list[int]) -> float:
    """Probability that a ranking of `items` begins with `best`: summed over all rankings."""
    total = 0.0
    for ranking in itertools.permutations(items):
        if list(ranking[: len(best)]) == best:
            left, probability = list(ranking), 1.0
            for item in ranking:
                probability *= math.exp(SIX[item]) / sum(math.exp(SIX[i]) for i in left)
                left.remove(item)
            total += probability
    return total


def test_the_strict_loss_is_the_probability_of_the_orders() -> None:
    target = -math.log(order_probability([0], [0, 4, 5]))
    whole = -math.log(order_probability([1, 2, 3], [1, 2, 3, 4, 5]))
    top = -math.log(order_probability([1, 2], [1, 2, 3, 4, 5]))
    expected = 0.3 * target + 0.7 * (whole / 3 + top / 2) / 2
    assert of_six(0.3, top=2) == pytest.approx(expected)
    assert of_six(None, top=2) == pytest.approx(target + (whole + top) / 2)


def test_the_relaxed_loss_is_one_against_the_rest_for_every_item() -> None:
    rest = [SIX[4], SIX[5]]
    each = [log_sum([s, *rest]) - s for s in SIX[:4]]
    assert of_six(0.3) == pytest.approx(0.3 * each[0] + 0.7 * sum(each[1:]) / 3)
    assert of_six(None) == pytest.approx(sum(each))


def test_without_a_list_the_relaxed_loss_is_cross_entropy() -> None:
    batch, out = batch_of(toy_knowledge()), output()
    target = batch.target.unsqueeze(1)
    nothing = torch.zeros(16, 4)
    found = relaxed_loss(
        out.scores(target)[:, 0], nothing, nothing > 0, out.log_rest(target), share=1.0
    )
    expected = F.cross_entropy(out.logits[:, 1:], batch.target - 1, reduction="none")
    torch.testing.assert_close(found, expected)


def test_unusable_places_are_as_if_absent() -> None:
    scores = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    positive, rest, usable = scores[:, 0], scores[:, 1], torch.ones(5, 5, dtype=torch.bool)
    usable[:, 3:] = False
    long, short = scores[:, 2:], scores[:, 2:5]
    torch.testing.assert_close(
        relaxed_loss(positive, long, usable, rest, 0.5),
        relaxed_loss(positive, short, usable[:, :3], rest, 0.5),
    )
    torch.testing.assert_close(
        strict_loss(positive, long, usable, rest, 2, 0.5),
        strict_loss(positive, short, usable[:, :3], rest, 2, 0.5),
    )


@pytest.mark.parametrize("share", [0.5, None])
def test_gradients_equal_finite_differences(share: float | None) -> None:
    generator = torch.Generator().manual_seed(2)
    usable = torch.rand(4, 6, generator=generator) < 0.7
    usable[3] = False
    given = [
        torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in ((4,), (4, 6), (4,))
    ]
    for loss in (
        lambda p, s, r: relaxed_loss(p, s, usable, r, share),
        lambda p, s, r: strict_loss(p, s, usable, r, 2, share),
    ):
        assert torch.autograd.gradcheck(loss, given)


def loop_loss(
    method: HetComp, knowledge: Knowledge, scores: np.ndarray, batch: object, *, strict: bool
) -> float:
    """The equations with the lists as `method` holds them."""
    config, k, rows = method.config, method.top_k, []
    sums = config.reduction == "sum"
    for b, r in enumerate(batch.row_id.tolist()):
        s, y = scores[b], int(batch.target[b])
        barred = excluded(knowledge, r, history=config.exclude_history)
        universe = [i for i in range(1, N_ITEMS + 1) if i not in barred]
        listed = [i for i in method.lists[r].tolist() if i > 0]
        if not listed:
            continue

        def outside(
            ids: list[int], s: np.ndarray = s, universe: list[int] = universe
        ) -> list[float]:
            return [s[i] for i in universe if i not in ids]

        def order(ids: list[int], s: np.ndarray = s, outside: object = outside) -> float:
            return sum(
                log_sum([s[j] for j in ids[place:]] + outside(ids)) - s[i]
                for place, i in enumerate(ids)
            )

        if strict:
            half, tenth = listed[: k // 2], listed[: max(1, k // 10)]
            target = log_sum([s[y], *outside(half)]) - s[y]
            parts = [(order(half), len(half)), (order(tenth), len(tenth))]
        else:
            rest = outside(listed)
            target = log_sum([s[y], *rest]) - s[y]
            parts = [(sum(log_sum([s[i], *rest]) - s[i] for i in listed), len(listed))]
        if sums:
            rows.append(target + sum(p for p, _ in parts) / len(parts))
        else:
            rho = config.positive_share
            rows.append(rho * target + (1 - rho) * sum(p / n for p, n in parts) / len(parts))
    return float(np.sum(rows) if sums else np.mean(rows))


@pytest.mark.parametrize("transfer", ["relaxed", "strict"])
@pytest.mark.parametrize(
    "settings",
    [{}, OFFICIAL, {"exclude_history": False, "positive_share": 0.2}, {"top_k": 20}],
    ids=["default", "official", "with-history", "shorter"],
)
def test_the_term_of_a_batch_equals_a_loop(transfer: str, settings: dict[str, object]) -> None:
    covered = torch.arange(N_ROWS) % 5 > 0
    knowledge = dataclasses.replace(toy_knowledge(), covered=covered)
    method = attached(knowledge, transfer=transfer, **settings)
    batch, out = batch_of(knowledge), output()
    assert not covered[batch.row_id].all()
    ((name, term),) = method.loss(batch, out).items()
    assert name == transfer
    value = loop_loss(method, knowledge, dense(out), batch, strict=transfer == "strict")
    weight = getattr(method.config, transfer).weight
    assert float(term.detach()) == pytest.approx(weight * value, rel=1e-4)


@pytest.mark.parametrize("transfer", ["relaxed", "strict"])
def test_gradients_reach_student_and_are_finite_at_extreme_scores(transfer: str) -> None:
    knowledge = toy_knowledge()
    method, batch = attached(knowledge, transfer=transfer), batch_of(knowledge)
    for scale in (1.0, 40.0):
        out = output(scale=scale)
        (term,) = method.loss(batch, out).values()
        term.backward()
        for tensor in (out.hidden, out.table):
            assert torch.isfinite(tensor.grad).all() and tensor.grad.abs().sum() > 0
        # Table row 0 is padding: neither in a list nor in the rest.
        assert not out.table.grad[0].any()


def test_a_catalogue_hardly_larger_than_the_lists_leaves_something_to_rank_against() -> None:
    knowledge = toy_knowledge()
    method = attached(knowledge, top_k=1000)
    assert method.top_k == N_ITEMS - 2 - HISTORY == method.derived["top_k"]
    (term,) = method.loss(batch_of(knowledge), output()).values()
    assert torch.isfinite(term)


def test_lists_follow_the_states_and_the_loss_follows_the_lists() -> None:
    knowledge = toy_knowledge()
    method, batch = attached(knowledge, top_k=12), batch_of(knowledge)
    assert not method.curriculum_finished
    seen = []
    for epoch in range(1, 15):
        numbers = method.on_epoch_start(epoch, 30)
        states = method.curriculum.states.now
        assert numbers == {
            "phase": 2.0 if bool((states == STATES - 1).all()) else 1.0,
            **{f"state_{n}": float(states[m].double().mean()) for m, n in enumerate(TEACHERS)},
        }
        assert method.curriculum_finished == (numbers["phase"] == 2.0)
        (name,) = method.loss(batch, output())
        assert name == ("strict" if method.curriculum_finished else "relaxed")
        # What was rebuilt row by row equals lists that are made anew.
        assert torch.equal(method.lists, method._ensemble(torch.arange(N_ROWS)))
        seen.append(sum(numbers.values()))
    assert seen == sorted(seen)
    assert seen[0] == 1.0 and seen[-1] == 2.0 + 3 * len(TEACHERS)
    best = [allowed(knowledge, m, STATES - 1, 0) for m in range(3)]
    assert set(method.lists[0].tolist()) <= {i for ids in best for i in ids}


@pytest.mark.parametrize(
    ("settings", "terms", "settled"),
    [
        ({"curriculum": {"dynamic": False}}, {"strict"}, 1),
        ({"transfer": "strict"}, {"strict"}, 0),
        ({"transfer": "relaxed"}, {"relaxed"}, 0),
        ({"curriculum": {"finish_epoch": 3}}, {"relaxed", "strict"}, 3),
    ],
    ids=["no-dkc", "strict-only", "relaxed-only", "finished"],
)
def test_ablations(settings: dict[str, object], terms: set[str], settled: int) -> None:
    knowledge = toy_knowledge()
    method, batch, seen = attached(knowledge, **settings), batch_of(knowledge), set()
    assert method.curriculum_finished == (settled == 1)
    for epoch in range(1, 14):
        method.on_epoch_start(epoch, 30)
        seen |= method.loss(batch, output()).keys()
        if settled:
            assert method.curriculum_finished == (epoch >= settled)
    assert method.curriculum_finished
    assert seen == terms


def test_a_single_teacher_is_its_own_consensus() -> None:
    knowledge = toy_knowledge()
    method = attached(knowledge, teachers=["second"], top_k=10)
    for row in range(N_ROWS):
        assert method.lists[row].tolist() == allowed(knowledge, 1, 0, row)[:10]
    assert list(method.on_epoch_start(1, 30)) == ["phase", "state_second"]
    with pytest.raises(ValueError, match="there are first, second, third"):
        attached(knowledge, teachers=["fourth"])


def test_a_teacher_with_one_state_is_converged() -> None:
    knowledge = toy_knowledge()
    last = dataclasses.replace(knowledge, trajectories=knowledge.trajectories[:, 3:])
    method, whole = attached(last), attached(knowledge, curriculum={"dynamic": False})
    assert method.curriculum_finished and torch.equal(method.lists, whole.lists)


def test_nobody_waits_for_a_curriculum_without_weight() -> None:
    nothing = {"weight": 0.0}
    assert attached(toy_knowledge(), relaxed=nothing, strict=nothing).curriculum_finished


def test_the_released_form_has_no_base_loss() -> None:
    assert [stage.base for stage in attached(toy_knowledge(), base=False).stages()] == [False]
    assert [stage.base for stage in attached(toy_knowledge()).stages()] == [True]


def test_the_method_adopts_no_parameter_and_copies_no_trajectory() -> None:
    knowledge = toy_knowledge()
    method = attached(knowledge)
    assert list(method.parameters()) == [] and list(method.buffers()) == []
    held = [t for t in vars(method.teachers).values() if isinstance(t, torch.Tensor)]
    big = [t for t in held if t.numel() >= knowledge.trajectories.numel()]
    assert [t.data_ptr() for t in big] == [knowledge.trajectories.data_ptr()]
