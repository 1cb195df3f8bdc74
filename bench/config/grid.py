"""Resolve a selection against the configuration: which trials, on which data and teachers.

Reads YAML and the methods' source text; imports neither torch nor pandas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import layers
from bench.config.method_settings import setting_keys
from bench.config.methods import MethodFile, read_method
from bench.config.overrides import (
    PROTOCOL_PARTS,
    Overrides,
    overlay,
    protocol_of,
    teacher_for,
)
from bench.config.search import Search
from bench.config.selection import ALL, Selection, expand, parse_seeds
from bench.data.config import DatasetConfig, ProtocolConfig, dataset_config, dataset_names
from bench.data.sources.synthetic_config import is_synthetic
from bench.errors import ConfigError, UnknownNameError
from bench.paths import Workspace
from bench.plan import DEFAULT_VARIANT, DataName, TeacherName, TrialSpec
from bench.registry import METHODS, MethodEntry
from bench.signals import CONTROLS
from bench.students import properties
from bench.students.config import StudentConfig, StudentFile, StudentLayer, read_student
from bench.teachers.config import (
    TeacherConfig,
    configured,
    of_student,
    read_teacher,
    teacher_kinds,
)
from bench.teachers.manifest import read_manifest, teacher_folder, teachers_in
from bench.teachers.registry import KindEntry, find_kind
from bench.training.config import TrainingConfig

DEFAULTS = Selection(students=["sasrec"], seeds="0")


@dataclass(frozen=True)
class DataSource:
    """One dataset under one protocol."""

    name: str
    config: DatasetConfig
    protocol: ProtocolConfig


@dataclass(frozen=True)
class TeacherSource:
    """One teacher of one dataset.

    Attributes:
        dataset: that it is about.
        name: the teacher's name.
        folder: where it lies, or will.
        config: None for one that was imported.
        is_overridden: whether `--set teacher.*` changed its options.
    """

    dataset: str
    name: str
    folder: Path
    config: TeacherConfig | None
    is_overridden: bool = False

    @property
    def is_there(self) -> bool:
        return self.folder.is_dir()

    @property
    def kind(self) -> KindEntry | None:
        """What is known of its kind; None where no kind that is registered made it."""
        return find_kind(self.config.kind) if self.config else None

    def signals(self) -> set[str] | None:
        """What it offers, or will when it is built; None where nobody can tell yet.

        Raises:
            ArtifactError: it is there, and its manifest is broken.
        """
        if self.is_there:
            return set(read_manifest(self.folder).signals)
        if self.kind is None or self.config is None:
            return None
        return self.kind.offers(self.config.options_for(self.dataset))


@dataclass(frozen=True)
class Grid:
    """What is planned, and the data and teachers that it stands on.

    Attributes:
        trials: setting by setting.
        data: by dataset and protocol.
        teachers: by dataset, protocol and name.
        references: those of the teachers whose own ranking is asked for.
        notes: sentences about what the selection does not do, for the user.
        selection: what the grid was resolved from, with `search`.
    """

    trials: list[TrialSpec]
    data: dict[DataName, DataSource]
    teachers: dict[TeacherName, TeacherSource]
    references: list[TeacherName]
    notes: list[str]
    selection: Selection
    search: Search | None

    def is_overridden(self, teacher: TeacherName | None) -> bool:
        """Whether `--set teacher.*` changed the options of a teacher."""
        return teacher is not None and self.teachers[teacher].is_overridden


@dataclass(frozen=True)
class _Choice:
    """A method under one variant; in a search, with one of the settings that it compares."""

    entry: MethodEntry
    variant: str
    file: MethodFile
    code: str
    keys: list[str] | None
    tried: dict[str, Any]


def resolve(selection: Selection, workspace: Workspace, *, search: Search | None = None) -> Grid:
    """All trials of a selection.

    Args:
        selection: names, seeds and overrides.
        workspace: where configuration, data and teachers are.
        search: take a method once with each of the settings that are compared, in place of once;
            one whose file has none is taken as it is.

    Raises:
        ConfigError: an unknown name or key, a wrong value, an override that concerns nothing.
    """
    selection = selection.over(DEFAULTS)
    if not selection.datasets:
        known = ", ".join(dataset_names(workspace))
        raise ConfigError(f"no dataset: give --dataset or --suite. Datasets: {known}")
    if not selection.methods and not selection.references:
        known = ", ".join(entry.name for entry in METHODS)
        raise ConfigError(f"no method: give --method or --suite. Methods: {known}")
    return _Resolver(selection, workspace, search).grid()


class _Resolver:
    def __init__(self, selection: Selection, workspace: Workspace, search: Search | None) -> None:
        self.selection = selection
        self.search = search
        self.workspace = workspace
        self.overrides = Overrides(selection.overrides)
        self.teachers: dict[TeacherName, TeacherSource] = {}
        self.configured = configured(workspace)
        self.chosen = self.chosen_teachers()

    def grid(self) -> Grid:
        students = expand(self.selection.students, layers.names("students", self.workspace))
        seeds = parse_seeds(self.selection.seeds)
        choices = self.choices()
        self.check_controls(choices)
        data = {(name, source.protocol.slug): source for name, source in self.data()}
        for source in data.values():
            self.check_teachers(source)
        settings = [
            list(self.trials_of(source, student, choices))
            for source in data.values()
            for student in students
        ]
        trials = [
            spec.model_copy(update={"seed": seed})
            for setting in settings
            for seed in seeds
            for spec in setting
        ]
        untaught = [name for name in self.chosen if all(spec.teacher != name for spec in trials)]
        references = [
            name for source in data.values() for name in self.references(source, untaught)
        ]
        self.overrides.reject_unused()
        notes = [*self.notes(choices), *self.notes_of_teachers(untaught, references)]
        return Grid(trials, data, self.teachers, references, notes, self.selection, self.search)

    def references(self, source: DataSource, untaught: list[str]) -> Iterator[TeacherName]:
        """Teachers of a dataset whose own ranking is asked for, or is all that one is good for.

        Args:
            source: the dataset.
            untaught: chosen teachers that no trial learns from; those that are there are shown.
        """
        named = untaught if ALL not in self.selection.teachers else []
        there = [name for name in named if self.folder(name, source).is_dir()]
        for name in dict.fromkeys([*self.selection.references, *there]):
            self.teacher(name, source)
            yield source.name, source.protocol.slug, name

    def notes_of_teachers(
        self, untaught: list[str], references: list[TeacherName]
    ) -> Iterator[str]:
        """What becomes of chosen teachers that no chosen method learns from."""
        if ALL in self.selection.teachers:
            return
        shown = {name for _, _, name in references}
        for name in untaught:
            does = (
                "its own ranking alone is shown"
                if name in shown
                else f"--reference {name} builds it and shows its own ranking"
            )
            yield f"teacher '{name}': no chosen method learns from it; {does}"

    def notes(self, choices: list[_Choice]) -> list[str]:
        """Which methods have no use for an override that others take."""
        keys = {choice.entry.name: choice.keys for choice in choices if choice.entry.may_need}
        without: dict[str, list[str]] = {}
        for name, known in keys.items():
            for key in self.overrides.passed("method", known):
                without.setdefault(key, []).append(name)
        return [
            f"--set {key}: no setting of {', '.join(methods)}"
            for key, methods in without.items()
            if len(methods) < len(keys)
        ]

    def choices(self) -> list[_Choice]:
        texts = expand(self.selection.methods, [entry.name for entry in METHODS])
        choices: dict[tuple[str, str], list[_Choice]] = {}
        for text in texts:
            name, _, variant = text.partition(":")
            entry = METHODS.get(name)
            file = read_method(entry, self.workspace)
            variant = variant or DEFAULT_VARIANT
            allowed = [DEFAULT_VARIANT, *file.variants]
            if variant not in allowed:
                raise UnknownNameError(f"variant of {name}", variant, allowed)
            code = entry.code_digest
            points: list[dict[str, Any]] = [{}]
            if self.search is not None:
                points = self.search.settings(name, file.search, file.ranges)
            # Where nothing is set it does not matter what could be.
            keys = setting_keys(entry, self.workspace) if self.overrides.has("method") else []
            choices[name, variant] = [_Choice(entry, variant, file, code, keys, p) for p in points]
        return [choice for points in choices.values() for choice in points]

    def data(self) -> Iterator[tuple[str, DataSource]]:
        # Whoever wants synthetic data names them: `all` is all that is real.
        real = [name for name in dataset_names(self.workspace) if not is_synthetic(name)]
        for name in expand(self.selection.datasets, real):
            config = dataset_config(name, self.workspace)
            protocol = protocol_of(config, self.selection.protocol, self.overrides)
            yield name, DataSource(name, config, protocol)

    def trials_of(
        self, source: DataSource, student: str, choices: list[_Choice]
    ) -> Iterator[TrialSpec]:
        """The trials of one student on one dataset, but for their seeds."""
        file = read_student(student, self.workspace)
        config, training, taken = self.student(student, file, source.name)
        protocol = {
            f"protocol.{key}": value
            for key, value in self.overrides.take("protocol", PROTOCOL_PARTS).items()
        }
        for choice in choices:
            settings, changed = self.settings(choice, source.name)
            for teacher, control in self.teaching(choice, settings, source, student):
                yield TrialSpec(
                    dataset=source.name,
                    protocol=source.protocol.slug,
                    seen=source.protocol.seen,
                    student=student,
                    student_config=config,
                    training=training,
                    method=choice.entry.name,
                    variant=choice.variant,
                    method_settings=settings,
                    method_code=choice.code,
                    teacher=teacher,
                    control=control,
                    seed=0,
                    overrides=protocol | taken | changed | self.teacher_overrides(teacher),
                )

    def student(
        self, name: str, file: StudentFile, dataset: str
    ) -> tuple[StudentConfig, TrainingConfig, dict[str, Any]]:
        where = str(layers.locate("students", name, self.workspace))
        layer = file.datasets.get(dataset, StudentLayer())
        training = layers.merge(file.training, layer.training)
        layers.build(TrainingConfig, training, f"{where}: training")
        parameters = layers.merge(file.parameters, layer.parameters)
        configured = StudentConfig(model=file.model, parameters=parameters)
        properties.check(configured, where=f"{where}: ")
        wanted = self.overrides.take("student", properties.settable(file.model))
        changed = self.overrides.take("training", TrainingConfig.model_fields)
        return (
            StudentConfig(model=file.model, parameters=overlay(parameters, wanted)),
            layers.build(TrainingConfig, overlay(training, changed), "--set training"),
            _prefixed("student", wanted) | _prefixed("training", changed),
        )

    def settings(self, choice: _Choice, dataset: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Settings of a method beyond its class's defaults, and the overrides among them."""
        file = choice.file
        taken = self.overrides.take("method", choice.keys)
        if fixed := layers.flat(choice.tried).keys() & taken.keys():
            raise ConfigError(
                f"--set method.{sorted(fixed)[0]}: is what is searched of {choice.entry.name} "
                "(`search` in its file); leave it out, or use bench run"
            )
        mapping = layers.merge(
            file.settings,
            file.datasets.get(dataset),
            file.variants.get(choice.variant),
            choice.tried,
        )
        return overlay(mapping, taken), _prefixed("method", layers.flat(choice.tried) | taken)

    def teaching(
        self, choice: _Choice, settings: Mapping[str, Any], source: DataSource, student: str
    ) -> list[tuple[str | None, str | None]]:
        """Teachers and controls of a method; one that needs none has neither."""
        needs = choice.entry.needs_under(settings)
        if not needs:
            return [(None, None)]
        named = self.chosen or [choice.file.teacher]
        chosen = [of_student(name, student, self.configured) for name in named]
        for teacher in chosen:
            self.teacher(teacher, source)
        return [
            (teacher, control) for teacher in chosen for control in (None, *self.controls(needs))
        ]

    def controls(self, needs: frozenset[str]) -> list[str]:
        """The controls that change something of what a method reads."""
        wanted = dict.fromkeys(self.selection.controls)
        return [control for control in wanted if CONTROLS[control] & needs]

    def check_controls(self, choices: list[_Choice]) -> None:
        """Reject controls that do not exist, or under which no chosen method would differ."""
        for control in self.selection.controls:
            if control not in CONTROLS:
                raise UnknownNameError("control", control, CONTROLS)
            if not any(CONTROLS[control] & choice.entry.may_need for choice in choices):
                raise ConfigError(
                    f"control '{control}' changes {', '.join(sorted(CONTROLS[control]))} and "
                    "nothing else; none of the chosen methods reads any of it"
                )

    def chosen_teachers(self) -> list[str]:
        """Names of teachers; `all` leaves out those that ask for a language model of one's own."""
        if ALL not in self.selection.teachers:
            return expand(self.selection.teachers, ())
        kinds = teacher_kinds(self.workspace)
        return expand(
            self.selection.teachers,
            [name for name, kind in kinds.items() if kind is None or not kind.needs_language_model],
        )

    def check_teachers(self, source: DataSource) -> None:
        """Reject teachers that do not exist, even where no method asks for them."""
        for name in (*self.chosen, *self.selection.references):
            folder = self.folder(name, source)
            if name not in self.configured and not folder.is_dir():
                there = teachers_in(self.workspace.tocf / source.name)
                if any(other.partition(".")[0] == name for other in there):
                    raise ConfigError(
                        f"teacher '{name}' of {source.name} was not made for the rows of "
                        f"{source.protocol.slug}: build or import it for them (--protocol)"
                    )
                known = {*self.configured, *there}
                raise UnknownNameError("teacher", name, known, f"dataset {source.name}")

    def folder(self, teacher: str, source: DataSource) -> Path:
        slug, default_slug = source.protocol.slug, source.config.protocol.slug
        return teacher_folder(self.workspace, source.name, teacher, slug, default_slug)

    def teacher(self, name: str, source: DataSource) -> None:
        """Note a teacher that the grid stands on."""
        if (source.name, source.protocol.slug, name) in self.teachers:
            return
        config = None
        if name in self.configured:
            file = read_teacher(name, self.workspace)
            config = teacher_for(source.name, file, self.overrides)
        self.teachers[source.name, source.protocol.slug, name] = TeacherSource(
            source.name, name, self.folder(name, source), config, bool(self.teacher_overrides(name))
        )

    def teacher_overrides(self, teacher: str | None) -> dict[str, Any]:
        if teacher not in self.configured:
            return {}
        return _prefixed("teacher", self.overrides.take("teacher", None))


def _prefixed(section: str, taken: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{section}.{path}": value for path, value in taken.items()}
