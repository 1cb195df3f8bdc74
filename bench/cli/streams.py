"""What leaves a command: letters that its reader can have, and errors of the machine as such."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
import unicodedata

_PLAIN = {"–": "-", "±": "+-", "·": "-"}  # what the suite itself prints  # noqa: RUF001
_HANDLER = "bench.plain"

_OF_THE_MACHINE = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM", "EMFILE", "ENFILE"),
        *("ENAMETOOLONG", "ELOOP", "ENOTDIR", "EISDIR"),
    )
    if hasattr(errno, name)
}


def is_of_the_machine(error: OSError) -> bool:
    """Whether an error says that a disk is full, read only, broken or closed, or a path is none."""
    return error.errno in _OF_THE_MACHINE


def widen() -> None:
    """Let stdout and stderr take every character.

    Redirected they are UTF-8, whatever the code page, as HTML says of itself. A terminal keeps its
    encoding, and has characters that it lacks as ASCII.
    """
    codecs.register_error(_HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors=_HANDLER)


def silence() -> None:
    """Drop what stdout could not take, which Python would try to write once more at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """The characters that an encoding lacks: without their accents, else as `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_letter, error.object[error.start : error.end])), error.end


def _letter(character: str) -> str:
    simple = _PLAIN.get(character) or unicodedata.normalize("NFKD", character)
    return simple.encode("ascii", "ignore").decode() or "?"
