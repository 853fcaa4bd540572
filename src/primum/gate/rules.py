"""The rules of a gate: limits on an evaluation's numbers, read from YAML."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from primum.config import Config, known_keys, nearest, validate
from primum.types import BadInput

Limit = Annotated[float, Field(strict=True, allow_inf_nan=False)]  # strict: no "5%", no yes
Margin = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Count = Annotated[int, Field(strict=True, ge=1)]
Pin = Annotated[str, Field(pattern="^([0-9a-f]{8,64})?$")]


class Rule(Config):
    """One number of one suite, and the limit that the unfavourable end of its interval keeps. Exactly one limit is set."""

    suite: str
    metric: str
    group: dict[str, str] = Field(default_factory=dict)  # only these prompts, such as {category: H4}
    corrected: bool = Field(False, strict=True)  # the rate put right for the judge's mistakes, by the judge's card
    at_most: Limit | None = None  # the upper end
    at_least: Limit | None = None  # the lower end
    rises_at_most: Margin | None = None  # above the baseline on the same prompts, where lower is better
    falls_at_most: Margin | None = None  # below the baseline on the same prompts, where higher is better
    max_unscored: Share | None = None  # of this metric; else the gate's
    least_prompts: Count | None = None  # else the gate's

    @property
    def paired(self) -> bool:
        return self.rises_at_most is not None or self.falls_at_most is not None

    @property
    def lower_is_better(self) -> bool:
        return self.at_most is not None or self.rises_at_most is not None

    @property
    def limit(self) -> float:
        """What the number is held against: of a rise or a fall, ours less the baseline's."""
        if self.falls_at_most is not None:
            return -self.falls_at_most
        return next(v for v in (self.at_most, self.at_least, self.rises_at_most) if v is not None)

    @property
    def asks(self) -> str:
        """The limit in words."""
        if self.paired:
            return f"rises at most {self.limit:g}" if self.lower_is_better else f"falls at most {-self.limit:g}"
        return f"at most {self.limit:g}" if self.lower_is_better else f"at least {self.limit:g}"

    @property
    def name(self) -> str:
        """Suite, metric and group in words."""
        group = "".join(f", {key} {value}" for key, value in self.group.items())
        return f"{self.suite}: {self.metric}{group}{', corrected' if self.corrected else ''}"


class Pins(Config):
    """Hashes that the evaluation must have, or how they begin (8 digits at least)."""

    weights: Pin = ""
    config: Pin = ""
    judge: Pin = ""
    data: Pin = ""


class GateConfig(Config):
    """All rules; every one must pass."""

    rules: list[Rule] = Field(min_length=1)
    max_unscored: Share = 0.02  # of a suite's rollouts that gold could not judge, and of a metric's that have no value
    least_prompts: Count = 30  # of different meaning that have a value; fewer prove nothing, however narrow the interval
    require: Pins = Pins()


class _Once(yaml.SafeLoader):
    """YAML in which a key said twice is a mistake: the second would silently replace the first, and a rule be gone."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if isinstance(key, str) and keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"'{twice[0]}' is said twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load_rules(path: Path) -> tuple[GateConfig, str]:
    """The rules of a file, and the SHA-256 of its bytes."""
    try:
        data = path.read_bytes()
        tree = yaml.load(data.decode("utf-8"), _Once)
    except OSError as error:
        raise BadInput(f"cannot read the rules, {error.strerror}", str(path), "name a YAML file, as recipes/gate.yaml") from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"cannot read the rules, {error}", str(path), "mend the YAML") from None
    given = tree.get("rules") if isinstance(tree, dict) else None
    if not isinstance(given, list) or not all(isinstance(rule, dict) for rule in given):
        raise BadInput(
            "there is no list of rules", str(path), "write 'rules:' and below it '- {suite: …, metric: …, at_most: …}'"
        )
    rules = [_rule(rule, f"{path}, rule {number}") for number, rule in enumerate(given, start=1)]
    return validate(GateConfig, {**tree, "rules": rules}, str(path)), hashlib.sha256(data).hexdigest()


def _rule(given: dict[str, Any], where: str) -> Rule:
    known = list(known_keys(Rule))
    for key in given:
        if key not in known:
            near = nearest(str(key), known)
            raise BadInput(
                f"unknown setting '{key}'", where, f"did you mean '{near}'?" if near else f"choose of {', '.join(known)}"
            )
    for key in ("suite", "metric"):
        if key not in given:
            raise BadInput(f"the rule names no {key}", where, f"add '{key}: …'")
    rule = validate(Rule, given, where)
    limits = [name for name in ("at_most", "at_least", "rises_at_most", "falls_at_most") if getattr(rule, name) is not None]
    if len(limits) != 1:
        said = f"{' and '.join(limits)} at once" if limits else "no limit"
        raise BadInput(f"the rule sets {said}", where, "set one of at_most, at_least, rises_at_most, falls_at_most")
    if rule.corrected and (rule.paired or rule.group):
        raise BadInput("only the rate of a whole suite, held against a number, can be corrected", where, "drop corrected")
    return rule
