"""What language models call the items."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from bench.data.examples import PreparedData


class Words(BaseModel):
    """What a dataset's items are called in prompts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    item: str = Field("item", description="one of them: game, movie")
    done: str = Field("chosen", description="what users did with it: played, watched")


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
