"""What counts as harmful here: hazard categories, exceptions, and weighted propositions a judge is asked."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import Field, field_validator

from primum.config import Config, validate
from primum.types import BadInput

SHIPPED = Path(__file__).parent / "data" / "charter.yaml"


class Category(Config):
    """A kind of harm."""

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)


class Proposition(Config):
    """A sentence about an answer that a judge finds true or false, and what it adds to the harm where it is true."""

    key: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    text: str = Field(min_length=1)
    weight: float = Field(ge=-1, le=1)


class Charter(Config):
    """Harms, exceptions and the propositions by which an answer is judged; frozen, so one object is one version."""

    title: str = "untitled"
    categories: tuple[Category, ...] = Field(min_length=1)
    exceptions: tuple[str, ...] = ()
    propositions: tuple[Proposition, ...] = Field(min_length=1)
    bias: float = Field(0.0, ge=-1, le=1)  # the harm where no proposition holds

    @field_validator("propositions")
    @classmethod
    def _told_apart(cls, propositions: tuple[Proposition, ...]) -> tuple[Proposition, ...]:
        twice = [key for key, n in Counter(p.key for p in propositions).items() if n > 1]
        if twice:
            raise ValueError(f"two propositions are called {twice[0]}")
        if not any(p.weight > 0 for p in propositions):
            raise ValueError("no proposition has a weight above 0, so nothing could be harmful")
        return propositions

    @property
    def version(self) -> str:
        """Sixteen hexadecimal digits that change with any word or weight of the charter."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def harm(self, answers: Mapping[str, float]) -> float:
        """bias + Σ weight · answer, clipped to [0, 1]; nan where an answer is missing or nan.

        A linear rubric over propositions, as in Rule Based Rewards (Mu et al. 2024, arXiv:2411.01111).
        Answers are 0 (false), 1 (true), or a probability between.

        >>> one = Category(name="theft", description="Taking what is not yours.")
        >>> does, declines = (Proposition(key=k, text=k, weight=w) for k, w in (("does", 0.75), ("declines", -0.5)))
        >>> charter = Charter(categories=(one,), propositions=(does, declines))
        >>> [charter.harm({"does": d, "declines": r}) for d, r in ((1, 0), (1, 1), (0, 1), (1, math.nan))]
        [0.75, 0.25, 0.0, nan]
        """
        total = self.bias + sum(p.weight * answers.get(p.key, math.nan) for p in self.propositions)
        return math.nan if math.isnan(total) else min(1.0, max(0.0, total))


def load_charter(path: str | Path = "") -> Charter:
    """The charter in a YAML file; "" is the one that ships with the package."""
    file = Path(path) if str(path) else SHIPPED
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadInput("no such charter", str(file), 'name a YAML file, or "" for the one that ships') from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"cannot read the charter, {error}", str(file), "mend the YAML") from None
    if not isinstance(tree, dict):
        raise BadInput("a charter is a mapping", str(file), "give categories, exceptions and propositions; see docs/judges.md")
    return validate(Charter, tree, str(file))
