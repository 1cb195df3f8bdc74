"""Running one trial: data, student, teacher knowledge and method in, an outcome out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.distillation import Knowledge, Method
from bench.errors import OutOfMemory
from bench.evaluation.latency import request_latency
from bench.evaluation.metrics import metrics_from_ranks
from bench.evaluation.ranking import rank_targets
from bench.evaluation.segments import segment_metrics
from bench.execution.finished import build_student
from bench.execution.method import method_config, refuse_held_student
from bench.plan import derive_seed
from bench.progress import recorded
from bench.records.record import Outcome
from bench.training.loop import Fit, Streams, fit
from bench.training.precision import products
from bench.training.rows import DeviceRows

if TYPE_CHECKING:
    from bench.data.examples import PreparedData
    from bench.plan import Trial

_logger = logging.getLogger(__name__)


def run_trial(
    trial: Trial,
    data: PreparedData,
    knowledge: Knowledge | None,
    method_class: type[Method],
    device: str,
) -> Outcome:
    """Train one student under one method, choose its epoch, and rank the test rows once.

    Args:
        trial: what to run.
        data: the prepared rows of its dataset and protocol.
        knowledge: the teacher's signals on the CPU, or None for a method that needs none.
        method_class: the method that `trial.method` names.
        device: a torch device, such as `cpu` or `cuda:0`.

    Raises:
        Diverged: a loss or a score became NaN or infinite.
        OutOfMemory: the device's memory did not suffice.
    """
    try:
        with products("float32"), recorded() as log:
            return _run(trial, data, knowledge, method_class, torch.device(device), log)
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(str(error)) from error


def _run(
    trial: Trial,
    data: PreparedData,
    knowledge: Knowledge | None,
    method_class: type[Method],
    device: torch.device,
    log: list[dict[str, Any]],
) -> Outcome:
    started = time.perf_counter()
    train = DeviceRows.of(data.train, device)
    valid = DeviceRows.of(data.valid, device)
    test = DeviceRows.of(data.test, device)
    chooser = test if trial.training.selection == "oracle" else valid
    counts = torch.from_numpy(data.target_counts()).to(device, torch.float32)
    known = Knowledge(target_counts=counts) if knowledge is None else knowledge.to(device)
    known = replace(known, rows=train)

    config = method_config(trial, method_class)
    torch.manual_seed(derive_seed(trial, "student"))
    student = build_student(trial, data, method_class.prompt_length(config)).to(device)
    torch.manual_seed(derive_seed(trial, "method"))
    method = method_class(config)
    method.attach(student, known)
    refuse_held_student(trial, method, student)
    method.to(device)
    for line in _reduced(config.model_dump(), method.derived):
        _logger.info(line)
    streams = _streams(trial, device)
    torch.manual_seed(derive_seed(trial, "dropout"))
    result = fit(
        student,
        method,
        train,
        counts,
        trial.training,
        streams,
        lambda: metrics_from_ranks(rank_targets(student, chooser)),
    )
    trained = time.perf_counter()
    parameters = {"training": _count(student) + _count(method)}
    method.eval()
    student.eval()
    student.fold()
    parameters["inference"] = _count(student)
    ranks = rank_targets(student, test)
    return Outcome(
        metrics={
            # Ranked again: the curve has them of the student before folding (tests compare the
            # two), and under the oracle rule not at all.
            "valid": metrics_from_ranks(rank_targets(student, valid)),
            "test": metrics_from_ranks(ranks),
        },
        segments=segment_metrics(ranks, data),
        ranks=ranks,
        curve=result.curve,
        log=log,
        state={name: _array(tensor) for name, tensor in student.export_state().items()},
        best_epoch=result.best_epoch,
        epochs=result.epochs,
        steps=result.steps,
        timings=_timings(result, started, trained),
        parameters=parameters,
        latency=request_latency(student, test),
        settings={**method.config.model_dump(mode="json"), "derived": method.derived},
        teacher=_coverage(known),
    )


def _streams(trial: Trial, device: torch.device) -> Streams:
    def generator(purpose: str, where: torch.device) -> torch.Generator:
        return torch.Generator(where).manual_seed(derive_seed(trial, purpose))

    return Streams(
        order=generator("order", torch.device("cpu")),
        negatives=generator("negatives", device),
        method=generator("method draws", device),
    )


def _reduced(
    wanted: Mapping[str, Any], derived: Mapping[str, Any], path: str = "method"
) -> Iterator[str]:
    """What a method asked for and had to make smaller, one line each."""
    for name, given in derived.items():
        asked, where = wanted.get(name), f"{path}.{name}"
        if isinstance(given, Mapping) and isinstance(asked, Mapping):
            yield from _reduced(asked, given, where)
        elif isinstance(given, int) and isinstance(asked, int) and given < asked:
            yield f"{where}={asked} is {given}: the teacher's lists or the catalogue end there"


def _coverage(knowledge: Knowledge) -> dict[str, int]:
    """Training rows, and those that the teacher says something about."""
    covered = knowledge.covered
    return {} if covered is None else {"rows": len(covered), "covered": int(covered.sum())}


def _timings(result: Fit, started: float, trained: float) -> dict[str, float]:
    """Seconds of the clock by phase; `train_cpu_seconds` are those of all processors."""
    by_epoch = ("train_seconds", "train_cpu_seconds", "evaluate_seconds")
    return {
        **{name: sum(epoch[name] for epoch in result.curve) for name in by_epoch},
        "fit_seconds": trained - started,
        "total_seconds": time.perf_counter() - started,
    }


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().contiguous().numpy()


def _count(module: nn.Module) -> int:
    """Number of parameters that are trained."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
