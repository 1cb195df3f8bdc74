"""Read the arrays of a teacher's folder, from text, tensors or binaries, without trusting them.

Every function returns the array or raises `Unreadable` with one sentence; nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench import limits
from bench.errors import DataError
from bench.files import sha256_of, write_whole
from bench.paths import Workspace
from bench.signals import Holds

if TYPE_CHECKING:
    import torch

_POINTER_BYTES = 4096
_POINTERS = (b"version https://git-lfs", b"/annex/objects/", b"../.git/annex/")


class Unreadable(Exception):
    """A file that does not hold what its name promises."""


_KINDS: dict[Holds, str] = {"numbers": "iuf", "floats": "f", "integers": "iu", "bool": "b"}
"""NumPy's letters for what an array may hold."""


TORCH = (".pt", ".pth", ".bin")
"""Endings of what torch.save writes."""


def read_array(
    path: Path,
    holds: Holds = "numbers",
    key: str | None = None,
    mapped: bool = False,
    keep: bool = True,
) -> NDArray[Any]:
    """The array of a file of any known format.

    Args:
        path: `.npy`, `.safetensors`, one of `TORCH`, or text, a table [R, K] of float64.
        holds: what it must hold.
        key: name of the tensor in a `.safetensors`; None: the only one there is.
        mapped: map a `.npy` into memory in place of reading it.
        keep: keep the table of a parsed text (see `read_text`).

    Raises:
        Unreadable: it does not hold what its name promises.
    """
    try:
        with limits.reading(path, where=path.name):
            return _read(path, holds, key, mapped, keep)
    except limits.TooMuch as error:
        raise Unreadable(str(error)) from error


def _read(path: Path, holds: Holds, key: str | None, mapped: bool, keep: bool) -> NDArray[Any]:
    ending = path.suffix.lower()
    if ending in TORCH:
        return read_tensor(path, holds)
    if ending == ".npz":
        raise Unreadable(f"{path.name} is an archive of arrays; save the one that counts as .npy")
    if ending == ".txt":
        array: NDArray[Any] = read_text(path) if keep else _parse(path)
    elif ending == ".safetensors":
        array = read_safetensors(path, key)
    else:
        return read_npy(path, holds, mapped)
    return _of_kind(array, holds, path)


def read_tensor(path: Path, holds: Holds = "floats") -> NDArray[Any]:
    """The tensor of a `.pt` file, as saved by `torch.save`; its pickled part is never executed.

    NumPy has no bfloat16: such a tensor is float32 here.
    """
    import torch

    _reject_pointer(path)
    try:
        with warnings.catch_warnings():  # about pickle protocols, for files that are refused
            warnings.simplefilter("ignore")
            _refuse_growth(path)
            value = torch.load(path, map_location="cpu", weights_only=True)
    except (DataError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        raise Unreadable(
            f"{path.name} holds pickled objects other than a tensor, which are never executed; "
            "save one [N, D] tensor with torch.save"
        ) from error
    except Exception as error:  # a damaged file fails anywhere in its reader
        raise Unreadable(
            f"{path.name} is truncated or no file of torch.save ({_first_line(error)}); numbers "
            "alone, such as numpy's tofile writes, tell no shape: save them with numpy.save"
        ) from error
    if not isinstance(value, torch.Tensor):
        raise Unreadable(f"{path.name} holds a {type(value).__name__}, one [N, D] tensor expected")
    kind = _other_than_dense(value)
    if kind:
        raise Unreadable(
            f"{path.name} holds a tensor {kind}, a dense one with its numbers expected"
        )
    return _of_kind(_as_numpy(value), holds, path)


def _refuse_growth(path: Path) -> None:
    """Raises: TooMuch: a file of torch.save, a zip archive, that unpacks to far more than it is."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            limits.check_zip(archive, limits.Budget(path.name, path.stat().st_size))


def _other_than_dense(tensor: torch.Tensor) -> str:
    """What keeps a tensor from being the numbers that its file holds; empty if nothing does."""
    import torch

    if tensor.layout is not torch.strided or tensor.is_nested:
        return f"of {'rows of different lengths' if tensor.is_nested else tensor.layout}"
    if tensor.device.type != "cpu":
        return f"on the device {tensor.device.type}"
    if tensor.is_quantized or tensor.is_complex():
        return f"of {tensor.dtype}"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"of shape {tuple(tensor.shape)} that is a view of fewer numbers"
    return ""


def read_safetensors(path: Path, key: str | None = None) -> NDArray[Any]:
    """The tensor called `key` in a `.safetensors` file; without a key, the only one there is."""
    from safetensors import safe_open

    _reject_pointer(path)
    try:
        with safe_open(path, framework="pt") as stored:
            names = list(stored.keys())
            if key is None and len(names) == 1:
                key = names[0]
            if key is None:
                raise Unreadable(
                    f"{path.name} holds {len(names)} tensors ({', '.join(names)}), one expected"
                )
            if key not in names:
                raise Unreadable(f"{path.name} holds {', '.join(names) or 'nothing'}, not '{key}'")
            return _as_numpy(stored.get_tensor(key))
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # as above; of a type that torch has no numbers for, for instance
        raise Unreadable(
            f"{path.name} is truncated or no safetensors file ({_first_line(error)})"
        ) from error


def read_npy(path: Path, holds: Holds = "numbers", mapped: bool = False) -> NDArray[Any]:
    """The array of a `.npy` file.

    A mapped one is mapped into memory: what is not looked at is not read. It is mapped
    copy-on-write, since torch wants writable memory; the file is never written to.
    """
    _reject_pointer(path)
    try:
        with path.open("rb") as stream:
            array = (
                np.lib.format.open_memmap(path, mode="c")
                if mapped
                else np.lib.format.read_array(stream, allow_pickle=False)
            )
    except Exception as error:  # a damaged file fails anywhere in its reader
        known = path.suffix.lower() == ".npy"
        hint = "" if known else f"; arrays are .npy, {', '.join(TORCH)}, .safetensors and .txt"
        raise Unreadable(
            f"{path.name} is truncated or no plain .npy array ({_first_line(error)}){hint}"
        ) from error
    return _of_kind(array, holds, path)


def read_text(path: Path) -> NDArray[np.float64]:
    """A table of numbers, one row a line, separated by blanks; parsed once.

    The table is kept in the workspace's cache, never beside the text: a folder of somebody else's
    could bring a table that is not the text's. It is named by the hashes of both, and one that has
    another hash by now is not believed.
    """
    _reject_pointer(path)
    cache, text = Workspace.current().cache / "tables", sha256_of(path)
    for kept in cache.glob(f"{text}.*.npy"):
        with contextlib.suppress(Unreadable, OSError):
            if sha256_of(kept) == kept.name.split(".")[1]:
                return read_npy(kept)
    table = _parse(path)
    stream = io.BytesIO()
    np.save(stream, table)
    content = stream.getvalue()
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        write_whole(cache / f"{text}.{hashlib.sha256(content).hexdigest()}.npy", content)
    return table


def _as_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    tensor = tensor.detach().resolve_neg()
    try:
        return tensor.numpy()
    except TypeError:  # bfloat16 and the like
        return tensor.float().numpy()


def _of_kind(array: NDArray[Any], holds: Holds, path: Path) -> NDArray[Any]:
    if array.dtype.kind not in _KINDS[holds]:
        raise Unreadable(f"{path.name} holds {array.dtype}, {holds} expected")
    return array


def _parse(path: Path) -> NDArray[np.float64]:
    import pandas as pd

    _reject_pointer(path)

    try:
        # The first line alone fixes the number of columns; a longer line is an error below.
        frame = pd.read_csv(path, sep=r"\s+", header=None, dtype=np.float64, na_filter=True)
    except pd.errors.EmptyDataError:
        raise Unreadable(f"{path.name} is empty") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise Unreadable(
            f"{path.name} is no table of numbers with rows of equal length ({_first_line(error)})"
        ) from error
    table = frame.to_numpy()
    short = np.isnan(table[:, -1])
    if short.any():
        # A short line and a written "nan" parse alike; the text tells them apart.
        row = int(np.argmax(short))
        values = _line(path, row).split()
        if len(values) < table.shape[1]:
            raise Unreadable(
                f"{path.name} is truncated: row {row} has {len(values)} values, "
                f"the first one {table.shape[1]}"
            )
    return table


def _line(path: Path, row: int) -> str:
    with path.open(encoding="utf-8") as stream:
        filled = (line for line in stream if line.strip())
        return next(line for index, line in enumerate(filled) if index == row)


def _reject_pointer(path: Path) -> None:
    """A checkout without its large files leaves a few hundred bytes of text in their place."""
    if not path.is_file():
        raise Unreadable(f"{path.name} is missing")
    with path.open("rb") as stream:
        head = stream.read(_POINTER_BYTES)
    if any(mark in head for mark in _POINTERS) and path.stat().st_size <= _POINTER_BYTES:
        raise Unreadable(
            f"{path.name} is a pointer of {len(head)} bytes to a large file that was not fetched; "
            "fetch the file itself (for example `git lfs pull`)"
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
