"""What language models call the items."""

from __future__ import annotations

from bench.data.examples import PreparedData


def titles_of(data: PreparedData, end: str) -> list[str]:
    """The N titles; an item without one is called by its token.

    Args:
        data: the catalogue.
        end: what follows the title in an item's text, such as `. Genres: `; empty if nothing does.

    Raises:
        DataError: no item has a text.
    """
    titles = [text.split(end)[0] if end else text for text in data.texts()]
    return [title.strip() or token for title, token in zip(titles, data.item_tokens, strict=True)]
