"""Options of the teacher kind `delrec`."""

from __future__ import annotations

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from bench.teachers.kinds.delrec.stages import Schedule
from bench.teachers.language.loading import Dtype
from bench.teachers.recommenders.options import MemberOptions
from bench.teachers.texts import Texts


class PatternOptions(Schedule):
    """Options of stage 1."""

    steps: PositiveInt = Field(800, description="steps of the optimiser")
    warm_up: float = Field(
        0.5, ge=0, lt=1, description="share of the steps in which the rate rises"
    )
    learning_rate: PositiveFloat = Field(5e-3, description="peak; never 0 while training lasts")
    weight_decay: NonNegativeFloat = 1e-5
    recommended: PositiveInt = Field(10, description="h, items of the conventional model's lists")
    example_items: int = Field(4, ge=2, description="items of the example in temporal analysis")
    asked_items: int = Field(3, ge=2, description="items that temporal analysis asks about")
    alpha: NonNegativeFloat = Field(0.5, description="0 gives both tasks the same weight")


class RankingOptions(Schedule):
    """Options of stage 2."""

    steps: PositiveInt = Field(1400, ge=2, description="steps of the optimiser")
    warm_up: float = Field(
        0.57, ge=0, lt=1, description="share of the steps in which the rate rises"
    )
    learning_rate: PositiveFloat = Field(1e-4, description="peak; never 0 while training lasts")
    weight_decay: NonNegativeFloat = 1e-6
    modules: list[str] = Field(["q", "v"], min_length=1, description="linear maps that are adapted")
    rank: PositiveInt = Field(320, description="rank of each change at first")
    target_rank: PositiveInt = Field(8, description="mean rank that is left, less than the first")
    lora_alpha: PositiveInt = Field(32, description="changes are scaled by lora_alpha / rank")
    dropout: float = Field(0.05, ge=0, lt=1, description="on the inputs of the changes")
    orthogonality: NonNegativeFloat = Field(0.5, description="weight of AdaLoRA's regularisation")

    @model_validator(mode="after")
    def _ranks_fall(self) -> RankingOptions:
        if self.target_rank >= self.rank:
            raise ValueError(
                f"'target_rank' ({self.target_rank}) must be below 'rank' ({self.rank})"
            )
        return self


class DelrecOptions(BaseModel):
    """Options of the kind `delrec`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        "google/flan-t5-xl",
        description="encoder-decoder or causal model: a folder, a `.gguf` file, `package:NAME` or "
        "hub name",
    )
    dtype: Dtype = Field("bfloat16", description="of the language model's weights")
    conventional: dict[str, MemberOptions] = Field(
        min_length=1,
        max_length=1,
        description="the one RecBole model that is imitated, by the name of a student",
    )
    soft_prompts: PositiveInt = Field(100, description="k, vectors before every prompt")
    candidates: int = Field(20, ge=2, description="m, items in a question")
    title_end: str = Field("", description="what follows the title in the items' texts")
    texts: Texts = Field("own", description="`shuffled` is a control: titles of other items")
    title_tokens: PositiveInt = Field(32, description="tokens after which a title is cut off")
    batch_size: PositiveInt = Field(20, description="questions of a task in a step")
    at_once: PositiveInt = Field(4, description="questions computed at a time; for the memory")
    held_out: float = Field(
        0.05, gt=0, lt=0.5, description="share of the training rows that chooses states"
    )
    looked_at: PositiveInt = Field(200, description="held out rows that are asked about, at most")
    patterns: PatternOptions = Field(default_factory=PatternOptions, description="stage 1")
    ranking: RankingOptions = Field(default_factory=RankingOptions, description="stage 2")
    list_candidates: PositiveInt = Field(
        100, description="C, items of the conventional model that the language model orders"
    )
    list_length: PositiveInt = Field(100, description="K_T, items listed per training row")
    rows: PositiveInt | None = Field(None, description="training rows listed, drawn at random")
    evaluation_rows: PositiveInt | None = Field(
        None, description="rows of each of validation and test that are ranked, drawn at random"
    )
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _sizes_fit(self) -> DelrecOptions:
        if self.patterns.recommended >= self.candidates:
            raise ValueError(
                f"'patterns.recommended' ({self.patterns.recommended}) must be below 'candidates' "
                f"({self.candidates})"
            )
        if self.list_length > self.list_candidates:
            raise ValueError(
                f"'list_length' ({self.list_length}) exceeds 'list_candidates' "
                f"({self.list_candidates}), the items that the language model orders"
            )
        if self.recommender.training is None:
            raise ValueError(f"conventional: {self.recommender.model} is no RecBole model")
        return self

    @property
    def recommender(self) -> MemberOptions:
        """The one conventional model."""
        (member,) = self.conventional.values()
        return member


LISTING = {"list_candidates", "list_length", "rows", "evaluation_rows"}
"""Options that training does not depend on."""
