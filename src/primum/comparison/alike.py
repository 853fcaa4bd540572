"""Were the arms measured alike? What differs is said, and different judges are refused."""

from __future__ import annotations

from collections.abc import Sequence

from primum.comparison.arms import Arm, Evaluated
from primum.comparison.pairs import FEWEST
from primum.config import differences
from primum.run import plain
from primum.types import BadInput

UNSCORED = 0.02


def cautions(arms: Sequence[Arm], *, allow_judges: bool) -> list[str]:
    """What to know before believing the comparison, most serious first; judges that differ are bad input unless allowed."""
    told = [(_name(arm, i), seed) for arm in arms for i, seed in enumerate(arm.seeds)]
    first_name, first = told[0]
    found = []
    for name, seed in told[1:]:
        found += _judges(first_name, first, name, seed, allow_judges)
        if lone := sorted(set(first.rows) ^ set(seed.rows)):
            found.append(f"only one of {first_name} and {name} was asked {', '.join(lone)}: that is not compared")
        if seed.data != first.data:
            found.append(f"{name} was asked other prompts than {first_name}: only the shared ones are compared")
        if changed := differences(plain(dict(first.sampling)), plain(dict(seed.sampling))):
            found.append(f"{name} was sampled otherwise than {first_name}: {', '.join(changed)}")
    found += [f"{name}: the suite {s} failed, too much of it could not be judged" for name, seed in told for s in seed.failed]
    found += [f"{name}, {warning}" for name, seed in told for warning in seed.warnings]
    return [*found, *_same(told), *_roles(arms), *_meanings(told), *_seeds(arms)]


def _name(arm: Arm, number: int) -> str:
    return arm.name if len(arm.seeds) == 1 else f"{arm.name}, seed {number + 1}"


def _judges(first_name: str, first: Evaluated, name: str, seed: Evaluated, allow: bool) -> list[str]:
    other = sorted(k for k in {*first.digests, *seed.digests} if first.digests.get(k) != seed.digests.get(k))
    if not other:
        return []
    what = f"{first_name} and {name} were judged by different judges of {', '.join(other)}"
    if not allow:
        remedy = "evaluate one of them again with the other's judge, or give --allow-different-judges"
        raise BadInput(what, f"{first.path}, {seed.path}", remedy)
    return [f"{what}: a difference may be the judges'"]


def _same(told: Sequence[tuple[str, Evaluated]]) -> list[str]:
    """Arms or seeds that are one model."""
    seen: dict[str, str] = {}
    found = []
    for name, seed in told:
        if seed.weights and seed.weights in seen:
            found.append(f"{seen[seed.weights]} and {name} have the same weights: they are one model sampled twice")
        seen.setdefault(seed.weights, name)
    return found


def _roles(arms: Sequence[Arm]) -> list[str]:
    if not any(seed.roles for arm in arms for seed in arm.seeds):
        return []
    return ["harm is over all categories, those trained on included; the run's own report tells them apart"]


def _meanings(told: Sequence[tuple[str, Evaluated]]) -> list[str]:
    rows = [m for _, seed in told for suite in seed.rows.values() for m in suite]
    if rows and not any(m.rollout.example.meaning for m in rows) and any(m.rollout.example.source == "microworld" for m in rows):
        return [
            "the rollouts name no meanings: wordings of one request count as prompts of their own, so intervals are too narrow"
        ]
    return []


def _seeds(arms: Sequence[Arm]) -> list[str]:
    one = [arm.name for arm in arms if len(arm.seeds) == 1]
    few = [f"{arm.name} has {len(arm.seeds)}" for arm in arms if 1 < len(arm.seeds) < FEWEST]
    found = [f"one seed ({', '.join(one)}): the luck of training is not in these intervals"] if one else []
    if few:
        found.append(f"{'; '.join(few)} seeds: a test over seeds needs {FEWEST} to reach p < 0.05")
    return found
