"""DLLM2Rec: ranking and embedding distillation together."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat
from torch import Tensor

from bench.distillation import Batch, Knowledge, Method, MethodConfig, Output, Student
from bench.registry import register_method

from .embedding_only import EmbeddingOnly
from .ranking_only import RankingOnly


class _Ranking(RankingOnly.Config):
    weight: NonNegativeFloat = Field(0.7, description="lambda_d (published command line)")


class _Embedding(EmbeddingOnly.Config):
    weight: NonNegativeFloat = Field(0.3, description="a (published command line)")


@register_method("dllm2rec", needs={"rankings", "embeddings"})
class DLLM2Rec(Method):
    r"""Distil an LLM recommender's rankings and item embeddings at once.

    Yu Cui et al., "Distillation Matters: Empowering Sequential Recommenders to Match the
    Performance of Large Language Models", RecSys 2024: :math:`L = L_{base} + \lambda_d L_d` with
    item embeddings :math:`e_i = b_i + a\, g(z_i)`, trained jointly.

    Takes: what `ranking-only` and `embedding-only` take, which are its two halves as they stand.

    Costs: the projector of `embedding-only` and the list term of `ranking-only` in training;
    nothing at inference.

    Departs: as the two halves do, setting by setting (`ranking`, `embedding`). The default weights
    are those of the command line that is published for Games.
    """

    class Config(MethodConfig):
        ranking: _Ranking = _Ranking()
        embedding: _Embedding = _Embedding()

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.ranking = RankingOnly(config.ranking)
        self.embedding = EmbeddingOnly(config.embedding)

    @classmethod
    def signals(cls, config: Config) -> frozenset[str]:
        return cls.needs | RankingOnly.signals(config.ranking)

    def attach(self, student: Student, knowledge: Knowledge) -> None:
        self.ranking.attach(student, knowledge)
        self.embedding.attach(student, knowledge)
        self.derived = {"ranking": self.ranking.derived}

    def loss(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        return self.ranking.loss(batch, output) | self.embedding.loss(batch, output)
