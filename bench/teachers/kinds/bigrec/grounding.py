"""From written titles to items: the closest ones in the space of the untuned model (BIGRec).

A text is the last hidden state of its last token. Items of one title are one point, so they have
one distance to everything; the more frequent training target comes first among them, then the
token that sorts first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.examples import Ids
from bench.errors import BenchError
from bench.teachers.language.loading import LanguageModel
from bench.teachers.language.resume import longest_first

Floats = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Floats]
"""Vectors float32 [n, D] of n texts."""

BLOCK = 256
"""Texts whose distances to all items are computed at a time."""


@torch.no_grad()
def embed(language: LanguageModel, texts: Sequence[str], batch_size: int) -> Floats:
    """The last hidden state of the last token of each text, by the model as it is.

    Args:
        language: a causal model, without adapters.
        texts: n texts; one without a token is read as the end of a text.
        batch_size: texts that are read at a time.

    Returns:
        float32 [n, D].

    Raises:
        BenchError: a value is NaN or infinite.
    """
    width = language.model.get_input_embeddings().embedding_dim
    vectors = np.empty((len(texts), width), dtype=np.float32)
    if not texts:
        return vectors
    end = [language.tokenizer.eos_token_id]
    tokens = [one or end for one in language.tokenizer(list(texts))["input_ids"]]
    for rows in longest_first(range(len(texts)), [len(one) for one in tokens], batch_size):
        # What follows on the right is invisible to a causal model, and moves no position.
        batch = language.batch([tokens[row] for row in rows], "right")
        states = language.model.base_model(**batch).last_hidden_state
        last = batch["attention_mask"].sum(dim=1) - 1
        places = torch.arange(len(rows), device=last.device)
        vectors[rows] = states[places, last].float().cpu().numpy()
    if not np.isfinite(vectors).all():
        raise BenchError(
            f"language model '{language.name}': the embedding of a text is NaN or infinite; "
            "try another 'dtype'"
        )
    return vectors


@dataclass(frozen=True)
class Written:
    """What was written for R rows.

    Attributes:
        vectors: float32 [G, D] of the distinct texts.
        text: int64 [R], which of them was written for each row.
    """

    vectors: Floats
    text: NDArray[np.int64]

    def of_rows(self) -> Floats:
        """A vector for every row, float32 [R, D]."""
        return self.vectors[self.text]


@dataclass(frozen=True)
class Popularity:
    """How often items are training targets, int64 [N], and what that does to distances.

    With gamma > 0 the distances of a row are scaled to 0..1 and multiplied by
    (1 + popularity)^-gamma, popularity being the counts scaled to 0..1. In any case the more
    frequent of two items that tie comes first.
    """

    counts: NDArray[np.int64]
    gamma: float = 0.0

    def discounts(self) -> Floats:
        """(1 + popularity)^-gamma, float32 [N]."""
        above = self.counts - self.counts.min()
        return ((1 + above / max(1, int(above.max()))) ** -self.gamma).astype(np.float32)


class Catalogue:
    """The items as points.

    Args:
        titles: the N titles.
        tokens: the N item tokens.
        embed: makes vectors of titles.
        device: name of the torch device to compute on.
    """

    def __init__(
        self, titles: Sequence[str], tokens: Sequence[str], embed: Embed, device: str
    ) -> None:
        distinct, title = np.unique(np.asarray(titles, dtype=object), return_inverse=True)
        self._known = {text: place for place, text in enumerate(distinct.tolist())}
        self._tokens, self._embed, self._device = np.asarray(tokens), embed, device
        self._vectors = embed(distinct.tolist())
        self._points = torch.from_numpy(self._vectors).to(device)
        self._title = torch.from_numpy(title.astype(np.int64)).to(device)

    def __len__(self) -> int:
        return len(self._title)

    @property
    def vectors(self) -> Floats:
        """float32 [N, D], row i - 1 is item i."""
        return self._vectors[self._title.cpu().numpy()]

    def share_of_titles(self, texts: Sequence[str]) -> float:
        """Share of texts that are a title of the catalogue."""
        return float(np.mean([text in self._known for text in texts]))

    def read(self, texts: Sequence[str]) -> Written:
        """The texts as points; what is a title of the catalogue has that title's vector."""
        distinct, text = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
        unknown = [one for one in distinct.tolist() if one not in self._known]
        vectors = np.empty((len(distinct), self._vectors.shape[1]), dtype=np.float32)
        new = iter(self._embed(unknown))
        for place, one in enumerate(distinct.tolist()):
            known = self._known.get(one)
            vectors[place] = next(new) if known is None else self._vectors[known]
        return Written(vectors, text.astype(np.int64))

    def lists(self, written: Written, size: int, popularity: Popularity) -> tuple[Ids, Floats]:
        """The closest items of every row.

        Args:
            written: what was written for R rows.
            size: K_T; all items where the catalogue is smaller.
            popularity: of the items.

        Returns:
            Ids 1..N int32 [R, K_T], best first, and their distances float32 [R, K_T].
        """
        size = min(size, len(self))
        order = torch.from_numpy(np.lexsort((self._tokens, -popularity.counts))).to(self._device)
        ids, distances = [], []
        for _, found in self._blocks(written.vectors):
            ordered = self._moved(found, popularity)[:, order]
            closest, place = ordered.sort(dim=1, stable=True)
            ids.append((order[place[:, :size]] + 1).int().cpu().numpy())
            distances.append(closest[:, :size].cpu().numpy())
        return np.concatenate(ids)[written.text], np.concatenate(distances)[written.text]

    def distances_to(self, written: Written, items: Ids) -> Floats:
        """L2 distance of each row's text to one item, int32 [R]: float32 [R]."""
        place = self._title.cpu().numpy()[np.asarray(items) - 1]
        result = np.empty(len(place), dtype=np.float32)
        for start in range(0, len(place), BLOCK):
            part = slice(start, start + BLOCK)
            own = written.vectors[written.text[part]] - self._vectors[place[part]]
            result[part] = np.linalg.norm(own, axis=1)
        return result

    def ranks(self, written: Written, targets: Ids, popularities: Sequence[Popularity]) -> Ids:
        """Rank of each row's target in several ways, int32 [len(popularities), R].

        Items of the target's title count as the target, the best one for all of them. Other items
        that tie with it are ranked before it.
        """
        ranks = np.empty((len(popularities), len(targets)), dtype=np.int32)
        target = torch.from_numpy(np.asarray(targets, dtype=np.int64) - 1).to(self._device)
        for part, found in self._blocks(written.vectors[written.text]):
            own = self._title == self._title[target[part], None]
            for place, popularity in enumerate(popularities):
                moved = self._moved(found, popularity)
                best = moved.masked_fill(~own, torch.inf).amin(dim=1, keepdim=True)
                before = (moved <= best) & ~own
                ranks[place, part] = (1 + before.sum(dim=1)).int().cpu().numpy()
        return ranks

    def _blocks(self, vectors: Floats) -> Iterator[tuple[slice, Tensor]]:
        """Slices of texts and their L2 distances to the items, float32 [B, N]."""
        for start in range(0, len(vectors), BLOCK):
            part = slice(start, start + BLOCK)
            texts = torch.from_numpy(vectors[part]).to(self._device)
            # The faster way by a matrix product is not exact where distances are small.
            found = torch.cdist(texts, self._points, compute_mode="donot_use_mm_for_euclid_dist")
            yield part, found[:, self._title]

    def _moved(self, found: Tensor, popularity: Popularity) -> Tensor:
        if not popularity.gamma:
            return found
        low, high = found.amin(dim=1, keepdim=True), found.amax(dim=1, keepdim=True)
        scaled = (found - low) / (high - low).clamp_min(torch.finfo(found.dtype).tiny)
        return scaled * torch.from_numpy(popularity.discounts()).to(self._device)
