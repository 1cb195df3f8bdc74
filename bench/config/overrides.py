"""The `--set section.key=value` of a run, and who took them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench import layers
from bench.data.config import DatasetConfig, ProtocolConfig
from bench.errors import ConfigError, UnknownNameError
from bench.teachers.config import TeacherConfig
from bench.training.config import TrainingConfig

SECTIONS = {
    "training": "how students are trained",
    "student": "hyper-parameters of the RecBole model",
    "method": "settings of the distillation method",
    "protocol": "options of the protocol",
    "teacher": "options of the teacher's builder",
}


class Overrides:
    """Overrides by section. Each concerns those parts of a run that know its key.

    `--set student.num_layers=2` is for the students that have layers; one that nothing in the run
    has taken is a mistake.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """Parse `section.key=value` texts; the last one of a key wins.

        Raises:
            ConfigError: not of that form, or an unknown section.
        """
        self._values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        self._known: dict[str, set[str]] = {section: set() for section in SECTIONS}
        self._taken: set[str] = set()
        for text in texts:
            key, value = layers.parse_override(text)
            section, _, path = key.partition(".")
            if not path:
                raise ConfigError(f"--set {text}: expected section.key=value.{_in_sections(key)}")
            if section not in SECTIONS:
                raise UnknownNameError("section", section, SECTIONS, f"--set {text}")
            self._values[section][path] = value

    def has(self, section: str) -> bool:
        """Whether there is any override of a section."""
        return bool(self._values[section])

    def take(self, section: str, known: Iterable[str] | None) -> dict[str, Any]:
        """The overrides of a section that concern something with these keys.

        Args:
            section: one of `SECTIONS`.
            known: its dotted keys, each with all that is below it; None where they cannot be told,
                and every override may concern it.

        Returns:
            Values by dotted key within the section.
        """
        names = None if known is None else set(known)
        self._known[section].update(names or ())
        values = {p: v for p, v in self._values[section].items() if _concerns(p, names)}
        self._taken.update(f"{section}.{path}" for path in values)
        return dict(values)

    def passed(self, section: str, known: Iterable[str] | None) -> list[str]:
        """Keys of the overrides of a section that are none of something with these keys."""
        names = None if known is None else set(known)
        return [f"{section}.{p}" for p in self._values[section] if not _concerns(p, names)]

    def reject_unused(self) -> None:
        """Raise ConfigError for an override that nothing in the run has taken."""
        for section, values in self._values.items():
            for path in values:
                key = f"{section}.{path}"
                if key in self._taken:
                    continue
                if not self._known[section]:
                    raise ConfigError(f"--set {key}: concerns nothing in this run (no {section})")
                allowed = [f"{section}.{name}" for name in self._known[section]]
                raise UnknownNameError("key", key, allowed, "--set")


def _concerns(path: str, known: set[str] | None) -> bool:
    """Whether a key within a section is one of these, below or above one; None: perhaps."""
    if known is None:
        return True
    return any(f"{path}.".startswith(f"{key}.") or key.startswith(f"{path}.") for key in known)


def _in_sections(key: str) -> str:
    """Which keys were perhaps meant by one without a section, and the sections there are."""
    known = {"training": TrainingConfig.model_fields, "protocol": PROTOCOL_PARTS}
    meant = [f"{section}.{key}" for section, keys in known.items() if key in keys]
    hint = f" Did you mean {' or '.join(meant)}?" if meant else ""
    return f"{hint} Sections: {', '.join(SECTIONS)}"


def overlay(mapping: dict[str, Any], taken: dict[str, Any]) -> dict[str, Any]:
    """A copy of `mapping` with taken overrides set in it."""
    result = layers.merge(mapping)
    for path, value in taken.items():
        layers.place(result, path, value)
    return result


PROTOCOL_PARTS = ProtocolConfig.model_fields.keys() - {"name"}
"""What `--set protocol.*` may change: another protocol is chosen by `--protocol`."""


def protocol_of(config: DatasetConfig, name: str | None, overrides: Overrides) -> ProtocolConfig:
    """The protocol that a command chooses for a dataset, `--set protocol.*` applied.

    Raises:
        UnknownNameError: no protocol has this name.
        ConfigError: an override with a wrong value.
    """
    protocol = config.protocol_named(name).model_dump()
    taken = overrides.take("protocol", PROTOCOL_PARTS)
    return layers.build(ProtocolConfig, overlay(protocol, taken), "--set protocol")


def teacher_for(dataset: str, config: TeacherConfig, overrides: Overrides) -> TeacherConfig:
    """The configuration of a teacher for one dataset alone, `--set teacher.*` applied."""
    options = overlay(config.options_for(dataset), overrides.take("teacher", None))
    return config.model_copy(update={"options": options, "datasets": {}})
