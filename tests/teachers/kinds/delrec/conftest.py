"""A tiny model that knows the words of coloured things."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import colours


@pytest.fixture(scope="session")
def colours_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny T5; nothing in it is changed."""
    pytest.importorskip("transformers", reason="needs the extra 'llm'")
    return colours.make_folder(tmp_path_factory.mktemp("colours"))
