"""Answers before and after: the same prompt in several arms, each prompt folded away."""

from __future__ import annotations

from collections.abc import Mapping

from primum.report.markup import Markup, join, tag
from primum.report.samples import LIMIT_CHARACTERS, cut
from primum.report.sections import section
from primum.study import plots
from primum.study.result import Answer, Result, Sample

MOST = 60  # prompts on a page


def samples(found: Result, looks: Mapping[str, str]) -> Markup | None:
    if not found.samples:
        return None
    shown = found.samples[:MOST]
    which = f"{len(shown)} of {len(found.samples)} prompts" if len(shown) < len(found.samples) else f"{len(shown)} prompts"
    lead = (
        f"{which}, the same in every arm, one answer each. This is what models wrote, harmful text included, as plain text; "
        f"texts over {LIMIT_CHARACTERS} characters are cut."
    )
    parts = [_sample(found, sample, looks, number == 0) for number, sample in enumerate(shown)]
    return section("samples", "Before and after", lead, *parts)


def _sample(found: Result, sample: Sample, looks: Mapping[str, str], unfolded: bool) -> Markup:
    order = [a for a in found.arms if a in sample.answers] + [a for a in sample.answers if a not in found.arms]
    about = " · ".join(part for part in (sample.kind, sample.category, f"seed {sample.seed}" if sample.seed else "") if part)
    head = tag("summary", tag("span", cut(sample.prompt, 300), class_="asked"), tag("small", about))
    answers = [_answer(found.label(a), looks.get(a), sample.answers[a]) for a in order]
    return tag("details", head, tag("div", *answers, class_="rollouts"), class_="answers-to", open=unfolded)


def _answer(name: str, look: str | None, answer: Answer) -> Markup:
    badge = tag("span", answer.outcome, class_="badge") if answer.outcome else None
    thought, reply = (tag("div", tag("span", part, class_="part"), cut(text) or f"(no {part})", class_=part) for part, text in
                      (("thought", answer.thought), ("reply", answer.reply)))  # fmt: skip
    head = tag("h4", join(plots.key(look), " ") if look else None, name)
    return tag("div", head, tag("div", badge) if badge else None, thought, reply)
