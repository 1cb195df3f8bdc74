"""Write a teacher in the layout that DLLM2Rec publishes, for programs that read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench import __version__
from bench.data.rows import PreparedData
from bench.errors import ArtifactError, ConfigError
from bench.files import sha256_of
from bench.teachers import files
from bench.teachers.build import replaced
from bench.teachers.contract import check
from bench.teachers.manifest import PUBLISHED_NAME, write_manifest
from bench.teachers.reading import read_safetensors

ID_FORMAT = "%d"
DISTANCE_FORMAT = "%.9g"
"""Nine digits tell every float32 from its neighbours: reading gives back what was written."""


def export_dllm2rec(folder: Path, data: PreparedData, output: Path, id_base: int = 0) -> None:
    """Write `all_embeddings.pt`, `myrank_train.txt` and `confidence_train.txt`.

    A `teacher.json` beside them says what DLLM2Rec's program does not read: dataset, fingerprints
    and the base of the ids.

    Args:
        folder: the teacher's folder.
        data: the rows and catalogue it speaks of.
        output: the new folder, whole or absent.
        id_base: what the first item of the catalogue is called; DLLM2Rec counts from 0.

    Raises:
        ConfigError: `output` is there, or the layout has no place for what the teacher says.
        ArtifactError: the teacher breaks the contract.
    """
    import torch

    if output.exists():
        raise ConfigError(f"{output} is there already; give the path of a new folder")
    checked = check(folder, data)
    if checked.problems:
        raise ArtifactError(str(folder), checked.problems)
    tables = (checked.embeddings, checked.rankings, checked.distances)
    embeddings, rankings, distances = tables
    if embeddings is None or rankings is None or distances is None:
        offers = ", ".join(checked.manifest.signals)
        raise ConfigError(
            f"{folder} offers {offers}; DLLM2Rec's layout has embeddings, rankings and confidence, "
            "all three"
        )
    if checked.covered is not None and not checked.covered.all():
        silent = int((~checked.covered).sum())
        raise ConfigError(
            f"{folder} says nothing of {silent:,} of {len(checked.covered):,} rows, for which "
            "DLLM2Rec's layout has no place"
        )
    if (folder / files.EMBEDDINGS).is_file():  # in their own precision
        embeddings = read_safetensors(folder / files.EMBEDDINGS, "embeddings")
    output = output.absolute()
    output.parent.mkdir(parents=True, exist_ok=True)
    with replaced(output) as temporary:
        torch.save(
            torch.from_numpy(np.ascontiguousarray(embeddings)),
            temporary / files.PUBLISHED_EMBEDDINGS,
        )
        np.savetxt(temporary / files.PUBLISHED_RANKINGS, rankings - 1 + id_base, fmt=ID_FORMAT)
        np.savetxt(temporary / files.PUBLISHED_DISTANCES, distances, fmt=DISTANCE_FORMAT)
        manifest = checked.manifest.model_copy(
            update={
                "kind": PUBLISHED_NAME,
                "signals": ["embeddings", "rankings", "confidence"],
                "id_base": id_base,
                "members": [],
                "catalogue_fingerprint": data.catalogue_fingerprint,
                "split_fingerprint": data.split_fingerprint,
                "created_by": f"bench {__version__}",
                "files": {name: sha256_of(temporary / name) for name in files.PUBLISHED},
            }
        )
        write_manifest(temporary, manifest)
