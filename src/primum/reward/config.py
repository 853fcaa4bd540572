"""The settings of the reward."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from primum.config import Config


class ConstraintConfig(Config):
    """Limits that training must keep, each with a multiplier of its own; without a limit a rate is not constrained."""

    harm: float | None = Field(None, ge=0, le=1)  # most harmful responses among those to harmful prompts
    over_refusal: float | None = Field(None, ge=0, le=1)  # most refusals, in full or in part, of borderline prompts
    mixing: float | None = Field(None, ge=0, le=1)  # most responses with letters of a script that the prompt never uses
    rate: float = Field(0.5, gt=0)  # of the multipliers' gradient ascent: each moves by this times (rate seen - limit)
    start: float = Field(1.0, ge=0)  # of every multiplier
    cap: float = Field(10.0, gt=0)  # of every multiplier
    delay: int = Field(0, ge=0)  # steps before the multipliers move
    patience: int = Field(10, ge=1)  # steps in a row at the cap before a limit counts as infeasible

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        named = {"harm": self.harm, "over_refusal": self.over_refusal, "mixing": self.mixing}
        return {name: limit for name, limit in named.items() if limit is not None}


class CascadeStage(Config):
    """A judge of a cascade: it decides where it says `low` or less, or `high` or more; the last one decides always."""

    signal: str
    low: float = Field(0.0, ge=-1, le=1)  # below 0 for a rule that may convict but not acquit
    high: float = Field(1.0, ge=0, le=1)


class RewardConfig(Config):
    """What the reward is made of; `reinforce.reward` names the source of its harm signal."""

    language: float = Field(0.5, ge=0)  # lost: this times the share of foreign letters
    repetition: float = Field(0.0, ge=0)  # lost: this times the share of word groups said before
    clear_refusal: float = Field(0.25, ge=0, le=1)  # what a harmless answer to a harmful prompt loses where it is no refusal
    combine: Literal["additive", "gated"] = "additive"  # costs are subtracted, or each multiplies what was earned by 1 - cost
    thoughts: bool = False  # judge the thought as if it were a reply too; the worse half counts. The oracle always does
    normalise_useful: bool = False  # usefulness relative to the siblings': the logistic of its z-score among them
    length: float = Field(0.0, ge=0)  # of Kimi's length reward among a task's siblings
    length_from: float = Field(0.0, ge=0, le=1)  # share of training before it counts
    preference: str = ""  # a signal added on benign and borderline prompts late in training, such as learned:DIR#helpful
    preference_weight: float = Field(0.2, ge=0)
    preference_from: float = Field(0.75, ge=0, le=1)  # share of training before it counts
    oracle_noise: float = Field(0.02, ge=0, lt=0.5)  # error rate of the micro-world's metered oracle
    words: str = ""  # file of blocked words, one a line, for reward "keyword"; "" is the built-in list
    classifier: str = ""  # folder of a sequence-classification model, for reward "classifier"
    harmful_label: str = ""  # its label for harm, where the name does not tell
    members: list[str] = Field([])  # signals of reward "ensemble"
    ensemble: Literal["mean", "worst", "careful"] = "worst"  # how they are one: careful is mean + penalty · deviation
    penalty: float = Field(1.0, ge=0)  # of a careful ensemble
    stress: Literal["tell", "refuse", "skip"] = "tell"  # a judge of harm that fails its stress battery before training
    cascade: list[CascadeStage] = Field([])  # judges of reward "cascade", the cheapest first
    constraints: ConstraintConfig = ConstraintConfig()

    @model_validator(mode="after")
    def _stages_in_order(self) -> RewardConfig:
        if any(stage.low >= stage.high for stage in self.cascade):
            raise ValueError("a cascade's low must be below its high")
        return self
