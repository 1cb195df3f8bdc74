"""Pages whose blocks of code are run one after the other, as a reader would."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```(sh|python)(?: (\S+))?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def play(page: str, shell: Callable[[str], object]) -> dict[str, Any]:
    """Run the blocks of a page in the current folder.

    Args:
        page: its text. A block of Python with the name of a file becomes that file.
        shell: runs a block of shell commands.

    Returns:
        The names that the blocks of Python left.
    """
    names: dict[str, Any] = {}
    for language, file, code in _BLOCK.findall(page):
        if language == "sh":
            shell(code)
        elif file:
            Path(file).write_text(code, encoding="utf-8")
        else:
            exec(code, names)  # noqa: S102 - our own page
    return names
