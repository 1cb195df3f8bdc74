"""Teacher kind `l3ae`: linear algebra that knows texts teaches, with no step of training.

Between `counting`, which knows interactions alone, and towers that are trained: its lists hold
items that nobody has asked for, where their texts put them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, Field

from bench.baselines.l3ae import L3AE
from bench.data.examples import Examples, PreparedData
from bench.teachers.builder import Builder, Product
from bench.teachers.recipe import TEXTS, texts_hash
from bench.teachers.recommenders.members import BaselineMember
from bench.teachers.recommenders.teaching import TeachingOptions, teaching
from bench.teachers.registry import register_teacher
from bench.teachers.texts import TextVectorOptions, text_vectors


class L3AEOptions(TeachingOptions, TextVectorOptions):
    """Options of the kind `l3ae`."""

    parameters: L3AE.Config = Field(L3AE.Config(), description="`l2`, `prior`, `text_l2`")


@register_teacher(
    "l3ae",
    signals={"embeddings", "rankings", "confidence", "truth-distance"},
    twins={"random": {"encoder": "random"}, "shuffled": {"texts": "shuffled"}},
)
class L3AETeacher(Builder):
    """Builder of the kind `l3ae`."""

    Options: ClassVar[type[BaseModel]] = L3AEOptions

    @staticmethod
    def build(options: L3AEOptions, data: PreparedData, cache: Path, device: str) -> Product:
        """Fit the baseline `l3ae` and list its best items; item vectors are those of the texts."""
        vectors = text_vectors(data, options, cache, device)

        def train(rows: Examples) -> BaselineMember:
            baseline = L3AE(options.parameters)
            baseline.read_texts(vectors)
            return BaselineMember("l3ae", baseline.fit(rows, data.n_items))

        product, _ = teaching(train, data, options, device)
        return replace(
            product,
            embeddings=vectors,
            recipe=product.recipe | {TEXTS: texts_hash(data)},
            notes=[*product.notes, *options.notes],
        )
