"""An experiment's result as Markdown: for a pull request, and as a chapter of docs/findings.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from primum.report.markdown import fenced, grid, inline
from primum.study.page_table import COST, UNSEEN, by_category, spent
from primum.study.page_words import (
    ARROWS,
    AXIS,
    bare,
    bound,
    claimed,
    could_show,
    counts,
    interval,
    measure_words,
    number,
    rests_on,
    seeds_words,
    unit_of,
)
from primum.study.reading import read_result
from primum.study.result import Claim, Estimate, Result

EXTREME = {"failed", "not met"}


def markdown(found: Mapping[str, Any]) -> str:
    """The whole document of one experiment."""
    result = read_result(found)
    return "\n\n".join([f"# {inline(result.name)}: Primum experiment", *chapter(result)]) + "\n"


def chapter(found: Result) -> list[str]:
    """Question, prediction, claim by claim, targets, arms, cost, command, notes: one paragraph, list or table each."""
    env = found.environment
    facts = [found.model, seeds_words(found.seeds), f"revision {env['git']}" if env.get("git") else ""]
    again = f"Again, at the revision{'s' if ', ' in str(env.get('git')) else ''} named:"
    return [
        *([f"**Asked.** {inline(found.question)}"] if found.question else []),
        *([f"**Predicted.** {inline(found.prediction)}"] if found.prediction else []),
        f"**Found: {inline(found.verdict or 'no verdict')}.** {'; '.join(inline(f) for f in facts if f)}.",
        *_claims(found),
        *_targets(found),
        *_results(found),
        *_unseen(found),
        *_cost(found),
        *_notes(found),
        *([again, fenced(found.command)] if found.command else []),
    ]


def _claims(found: Result) -> list[str]:
    return ["\n".join(_claim(found, claim) for claim in found.claims)] if found.claims else []


def _claim(found: Result, claim: Claim) -> str:
    """One claim as a line of a list, in bold where it failed."""
    unit, difference = unit_of(found, claim)
    measured = measure_words(found, claim)
    size = _size(unit, claim.value, difference=difference)
    value = f"{size} ({inline(rests_on(claim.value))}); {inline(claimed(found, claim))}."
    told = f"{inline(measured)}: {value}" if measured else value
    more = could_show(found, claim)
    return f"- {_strong(claim.verdict, f'{claim.verdict}: {claim.text}')} {told}{' ' + inline(more) if more else ''}"


def _strong(verdict: str, text: str) -> str:
    said = inline(text.rstrip(".")) + "."
    return f"**{said}**" if verdict in EXTREME else said


def _targets(found: Result) -> list[str]:
    if not found.targets:
        return []
    rows = [[inline(t.text), target_value(found, t), target_verdict(t)] for t in found.targets]
    return [grid(["Target", "Value", "Met"], rows)]


def target_value(found: Result, target: Claim) -> str:
    """A target's number with its interval, in the units of its limit."""
    unit, difference = unit_of(found, target)
    return _size(unit, target.value, difference=difference)


def _size(unit: str, value: Estimate, *, difference: bool) -> str:
    return f"{bound(value)}{inline(number(unit, value.mean, difference=difference))} {interval(unit, value)}".rstrip()


def target_verdict(target: Claim) -> str:
    return f"**{target.verdict}**" if target.verdict in EXTREME else target.verdict


def _results(found: Result) -> list[str]:
    if not found.arms or not found.shown:
        return []
    head = ["Arm", *(_metric(found, key) for key in found.shown)]
    rows = [[_arm(found, arm), *(_cell(found, arm, key) for key in found.shown)] for arm in found.arms]
    told = [v for arm in found.arms for key in found.shown if (v := found.value(arm, key)).mean is not None]
    most = f"; up to {inline(counts(max(told, key=lambda v: (v.n, v.seeds))))}" if told else ""
    said = f"Mean [95 % interval] over seeds{most}. ↓ lower is better, ↑ higher is better."
    return [said, grid(head, rows)]


def _metric(found: Result, key: str) -> str:
    m = found.measure(key)
    unit = f", {AXIS.get(m.unit, m.unit)}" if m.unit else ""
    return inline(f"{m.label}{unit}{' ' + ARROWS[m.better] if m.better else ''}")


def _arm(found: Result, arm: str) -> str:
    held, all_ = {s.partition("/")[0] for s in found.arms[arm].seeds}, {s.partition("/")[0] for s in found.seeds}
    return inline(found.label(arm)) + (f" ({len(held)} of {len(all_)} seeds)" if len(held) < len(all_) else "")


def _cell(found: Result, arm: str, key: str) -> str:
    value, unit, unscored = found.value(arm, key), found.measure(key).unit, found.unscored(arm, key)
    missing = f"{bare('', unscored)} unscored" if unscored else ""
    if value.mean is None:
        return inline(missing or "–")
    return f"{bare(unit, value.mean)} {interval(unit, value)}".rstrip() + (f", {missing}" if missing else "")


def _unseen(found: Result) -> list[str]:
    heads, rows = by_category(found)
    return [f"{UNSEEN}:", grid([inline(h) for h in heads], [[inline(c) for c in row] for row in rows])] if rows else []


def _cost(found: Result) -> list[str]:
    """The mean cost of each arm over its seeds."""
    kept = [(key, label) for key, label in COST if any(spent(key, arm)[0] is not None for arm in found.arms.values())]
    if not kept:
        return []
    rows = [[inline(arm.label), *(number("", spent(key, arm)[0]) for key, _ in kept)] for arm in found.arms.values()]
    return ["What each arm cost, mean over seeds:", grid(["Arm", *(label for _, label in kept)], rows)]


def _notes(found: Result) -> list[str]:
    lines = [inline(note) for note in found.notes]
    for task, error, attempts in found.failures:
        lines.append(f"**Failed after {inline(attempts or '?')} attempts:** {inline(task)}: {inline(error)}")
    return ["\n".join(f"- {line}" for line in lines)] if lines else []


def words(head: list[str], rows: list[list[str]]) -> str:
    """A table of words: every column stands to the left."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
