"""GRU4Rec (Hidasi et al., ICLR 2016), a recurrent network."""

from __future__ import annotations

from torch import Tensor

from bench.students.vectors import VectorReader, prepended


class GRU4Rec(VectorReader):
    """Fed prompts first: they make the state that a history begins with."""

    def read(self, vectors: Tensor, length: Tensor, user: Tensor, prompts: Tensor | None) -> Tensor:
        """RecBole's own forward, which takes sequences of any length."""
        if prompts is not None:
            vectors, length = prepended(prompts, vectors), length + len(prompts)
        encoded: Tensor = self.model(vectors, length)
        return encoded

    def encode_at(self, history: Tensor, place: Tensor) -> Tensor:
        """Encode many prefixes of each history in one pass: a state is that of the items up to it.

        Args:
            history: int64 [W, L'], L' <= L.
            place: int64 [B], the positions where the prefixes end, counted through all W * L'.

        Returns:
            float32 [B, d], what `encode` makes of the prefixes.
        """
        vectors, prompts = self.items(history), self.current_prompts()
        read = vectors if prompts is None else prepended(prompts, vectors)
        states, _ = self.model.gru_layers(self.model.emb_dropout(read))
        ends = states[:, -vectors.size(1) :].flatten(0, 1)[place]
        return self.items.hidden(self.model.dense(ends))
