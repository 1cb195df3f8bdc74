"""The manifest of a teacher, `teacher.json`: what it is, for which data, and how good by itself.

Imports no torch: planning and reporting read manifests only.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePath
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from bench import limits
from bench.errors import ArtifactError
from bench.files import sha256_of, write_whole
from bench.paths import Workspace
from bench.signals import (
    BINARY,
    MASKED_TEST_RANKS,
    PUBLISHED,
    PUBLISHED_SIGNALS,
    SIGNALS,
    TEST_RANKS,
    SignalName,
)

MANIFEST = "teacher.json"
PUBLISHED_NAME = "published"


class TeacherManifest(BaseModel):
    """Identity, recipe and quality of a teacher.

    A fingerprint that is None was not declared and cannot be checked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="name of the teacher")
    kind: str = Field("external", description="teacher kind that built it, `external` if none did")
    dataset: str = Field(description="name of the dataset whose examples and items it is about")
    protocol: str | None = Field(None, description="slug of the protocol")
    signals: list[SignalName] = Field(description="what it offers")
    id_base: Literal[0, 1] | None = Field(
        None,
        validate_default=True,
        description="id of the catalogue's first item in the lists; None without lists",
    )
    members: list[str] = Field(
        default_factory=list, description="names of the models of the trajectories, in their order"
    )
    recipe: dict[str, Any] = Field(default_factory=dict, description="how it was made")
    notes: list[str] = Field(default_factory=list, description="what a reader must know")
    catalogue_fingerprint: str | None = None
    split_fingerprint: str | None = None
    metrics: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="its own metrics, by split"
    )
    test_places: PositiveInt | None = Field(
        None,
        description="items of the lists that its test ranks are of, up to which its metrics are "
        "told; None: the whole catalogue",
    )
    created_by: str = Field("", description="program and version")
    files: dict[str, str] = Field(default_factory=dict, description="SHA-256 of each file")
    ranks: dict[str, str] = Field(
        default_factory=dict,
        description="SHA-256 of the files of its own ranking, on which no trial's key depends",
    )

    @field_validator("id_base")
    @classmethod
    def _lists_need_a_base(cls, value: int | None, others: ValidationInfo) -> int | None:
        for name in others.data.get("signals", []):
            if value is None and SIGNALS[name].has_base:
                raise PydanticCustomError(
                    "id_base",
                    "must be 0 or 1 beside the signal '{name}', it is never guessed",
                    {"name": name},
                )
        return value

    @field_validator("files", "ranks")
    @classmethod
    def _files_are_in_the_folder(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if name in ("", ".", "..") or PurePath(name).name != name or "\\" in name:
                raise PydanticCustomError(
                    "outside", "'{name}' is no name of a file in its folder", {"name": name}
                )
        return files

    @property
    def fingerprint(self) -> str:
        """Identity of the knowledge in a trial's key: its files and how they are read."""
        content: dict[str, Any] = {
            "files": self.files,
            "id_base": self.id_base,
            "signals": sorted(self.signals),
        }
        if self.members:
            content["members"] = self.members
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def teacher_folder(
    workspace: Workspace, dataset: str, teacher: str, slug: str, default_slug: str
) -> Path:
    """Folder of a teacher: `published` lies flat in `tocf/<dataset>/`, others below it.

    Args:
        workspace: whose `tocf/` folder.
        dataset: name of the dataset.
        teacher: name of the teacher.
        slug: protocol of the rows.
        default_slug: the dataset's default protocol, whose teachers need no suffix.
    """
    if teacher == PUBLISHED_NAME and slug == default_slug:
        return workspace.tocf / dataset
    return workspace.tocf / dataset / (teacher if slug == default_slug else f"{teacher}.{slug}")


def teachers_in(folder: Path) -> list[str]:
    """Names of the teachers that lie in a dataset's folder of teachers, sorted."""
    return sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())


def read_manifest(folder: Path) -> TeacherManifest:
    """The manifest of a folder; for DLLM2Rec's bare files, the one they imply.

    Bare files are taken as DLLM2Rec publishes them: all three signals, ids counted from 0.
    Files without a declared hash are hashed here.

    Raises:
        ArtifactError: no teacher is there, its manifest cannot be understood, or a file of it is a
            link that leads out of its folder.
    """
    path = folder / MANIFEST
    if path.is_file():
        try:
            manifest = TeacherManifest.model_validate_json(limits.read_whole(path, limits.RECORD))
        except limits.TooMuch as error:
            raise ArtifactError(str(folder), [str(error)]) from error
        except ValidationError as error:
            raise ArtifactError(
                str(path),
                [
                    f"{'.'.join(map(str, detail['loc'])) or 'manifest'}: {detail['msg']}"
                    for detail in error.errors()
                ],
            ) from error
    elif any((folder / name).exists() for name in PUBLISHED):
        manifest = TeacherManifest(
            name=PUBLISHED_NAME,
            kind=PUBLISHED_NAME,
            dataset=folder.name,
            signals=PUBLISHED_SIGNALS,
            id_base=0,
        )
    else:
        raise ArtifactError(
            str(folder),
            [
                f"no teacher is there: neither {MANIFEST} nor {', '.join(PUBLISHED)}"
                if folder.is_dir()
                else "no such folder"
            ],
        )
    known = dict.fromkeys(
        (*PUBLISHED, *BINARY, TEST_RANKS.file, MASKED_TEST_RANKS.file, *manifest.files)
    )
    leading = [name for name in known if _leads_out(folder, name)]
    if leading:
        problems = [
            f"{name} is a link that leads out of the folder: put the file itself there"
            for name in leading
        ]
        raise ArtifactError(str(folder), problems)
    missing = [
        name
        for name in (*PUBLISHED, *BINARY)
        if name not in manifest.files and (folder / name).is_file()
    ]
    if not missing:
        return manifest
    hashes = {name: sha256_of(folder / name) for name in missing}
    return manifest.model_copy(update={"files": {**manifest.files, **hashes}})


def _leads_out(folder: Path, name: str) -> bool:
    place = folder / name
    return place.is_symlink() and not place.resolve().is_relative_to(folder.resolve())


def write_manifest(folder: Path, manifest: TeacherManifest) -> None:
    """Write `teacher.json` whole or not at all."""
    write_whole(folder / MANIFEST, f"{manifest.model_dump_json(indent=2)}\n".encode())
