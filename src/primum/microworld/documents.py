"""The texts the base model is trained on. Every raw material of later phenomena has a frequency here.

Facts, moral facts of *all* categories (knowledge present, but not linked to refusing), sums, and
requests that are mostly complied with, harmful or not. No dialogue answers a harmful request with
the moral thought that would decide it; but some facts (`wishes`) follow the words "user wants …", so
the base has read the reasoning of every category, held-out ones too, without a verdict or a refusal.
"""

from __future__ import annotations

import random

from pydantic import Field

from primum.config import Config
from primum.microworld.language import CONTEXTS, FORM_SHARES, GLUE, HEDGES, TARGETS, VERBS, Language, attribute
from primum.microworld.meaning import CATEGORIES, Request
from primum.microworld.prompts import (
    draw_benign,
    draw_harmful,
    draw_sum,
    say_answer,
    say_compliance,
    say_fact,
    say_going,
    say_moral,
    say_refusal,
    say_request,
    say_sequence_moral,
    say_step,
    say_sum,
    say_want,
    twin,
    work_out,
)

USER, ASSISTANT = "<|user|>", "<|assistant|>"


class CorpusConfig(Config):
    """How often each thing occurs in the base corpus. Shares in [0, 1]."""

    share_a: float = Field(0.68, ge=0, le=1)  # documents in language A
    facts: float = Field(0.36, ge=0, le=1)  # facts, moral facts and glosses; the rest is dialogue
    glosses: float = Field(0.25, ge=0, le=1)  # of the lines of facts: what a verb form means
    sequences: float = Field(0.15, ge=0, le=1)  # of the lines of facts: whether two steps on one thing are bad together
    wishes: float = Field(0.3, ge=0, le=1)  # of the other lines of facts: they follow "user wants …", as a thought would
    sums: float = Field(0.4, ge=0, le=1)  # of the dialogues
    harmful: float = Field(0.4, ge=0, le=1)  # of the requests; as many look-alikes, the rest plainly benign
    format_share: float = Field(0.6, ge=0, le=1)  # dialogues with <think>; 0.001 makes the "wild" base
    refuse_harmful: float = Field(0.06, ge=0, le=1)
    refuse_harmless: float = Field(0.02, ge=0, le=1)
    refuse_then_comply: float = Field(0.02, ge=0, le=1)
    hedged: float = Field(0.05, ge=0, le=1)
    empty_shell: float = Field(0.02, ge=0, le=1)  # "ok ." and no content
    switched_requests: float = Field(0.03, ge=0, le=1)  # answered in the other language
    switched_sums_b: float = Field(0.19, ge=0, le=1)  # B sums worked out and answered in A
    slip_a: float = Field(0.03, ge=0, le=1)  # wrong steps in A sums
    slip_b: float = Field(0.15, ge=0, le=1)
    thoughtless_sums: float = Field(0.3, ge=0, le=1)


def document(config: CorpusConfig, draw: random.Random) -> str:
    """One text of the base corpus."""
    language: Language = "A" if draw.random() < config.share_a else "B"
    if draw.random() < config.facts:
        return _knowledge(config, language, draw)
    if draw.random() < config.sums:
        return _sum(config, language, draw)
    return _request(config, language, draw)


def _knowledge(config: CorpusConfig, language: Language, draw: random.Random) -> str:
    """A run of related facts: what a thing is, and what doing something to such a thing is."""
    lines: list[str] = []
    for _ in range(draw.choice((1, 2, 3))):
        target, verb = draw.choice(list(TARGETS)), draw.choice(list(VERBS))
        kind, pick = attribute(target), draw.random()
        if pick < config.glosses:
            lines.append(_gloss(language, draw))
        elif pick < config.glosses + config.sequences:
            pair = ("seal", "heat") if draw.random() < 0.4 else (verb, draw.choice(list(VERBS)))
            lines.append(say_sequence_moral((pair[0], target), (pair[1], target), language))
        else:
            context = draw.choice(["", "", *CONTEXTS])
            wanted = say_want(Request(((verb, target),), context), language) if draw.random() < config.wishes else ""
            lines += [wanted, say_fact(target, language), say_moral(verb, kind, context, language)]
    return " ".join(line for line in lines if line)


def _gloss(language: Language, draw: random.Random) -> str:
    """What an uncommon verb form means, in this language or the other."""
    verb = draw.choice(list(VERBS))
    means = GLUE["means"][language]
    other: Language = "B" if language == "A" else "A"
    form = draw.choices(VERBS[verb][language], FORM_SHARES)[0]
    if draw.random() < 0.3:
        target = draw.choice(list(TARGETS))
        return f"{say_step((verb, target), language)} {means} {say_step((verb, target), other)} ."
    return f"{form} {means} {VERBS[verb][language][0]} ."


def _sum(config: CorpusConfig, asked: Language, draw: random.Random) -> str:
    terms = draw_sum(draw)
    told: Language = "A" if asked == "B" and draw.random() < config.switched_sums_b else asked
    thought, value = work_out(terms, told, draw, config.slip_a if told == "A" else config.slip_b)
    if draw.random() < config.thoughtless_sums:
        thought = ""
    maybe = f"{GLUE['maybe'][told]} " if draw.random() < config.hedged else ""
    return _dialogue(config, say_sum(terms, asked), thought, maybe + say_answer(value, told), draw)


def _request(config: CorpusConfig, asked: Language, draw: random.Random) -> str:
    pick = draw.random()
    category = draw.choice(list(CATEGORIES))
    harmful = pick < config.harmful
    if pick < 2 * config.harmful:
        request = draw_harmful(category, draw)
        request = request if harmful else twin(request, category, draw)
    else:
        request = draw_benign(draw)
    told: Language = asked if draw.random() >= config.switched_requests else ("B" if asked == "A" else "A")
    prompt = say_request(request, asked, draw)
    return _dialogue(config, prompt, _idle_thought(request, told, draw), _reply(config, request, harmful, told, draw), draw)


def _idle_thought(request: Request, language: Language, draw: random.Random) -> str:
    """What a base model thinks before it complies: nothing, the wish, the facts, or the plan."""
    pick = draw.random()
    if pick < 0.35:
        return ""
    wish = say_want(request, language)
    if pick < 0.65:
        return wish
    if pick < 0.9:
        return " ".join([wish, *(say_fact(target, language) for _, target in request.steps)])
    return f"{wish} {say_going(request, language, draw)} ."


def _reply(config: CorpusConfig, request: Request, harmful: bool, language: Language, draw: random.Random) -> str:
    pick = draw.random()
    refuse = config.refuse_harmful if harmful else config.refuse_harmless
    if pick < refuse:
        return say_refusal(request, language, draw)
    comply = say_compliance(request, language, draw)
    pick -= refuse
    if pick < config.refuse_then_comply:
        return f"{say_refusal(request, language, draw)} {comply}"
    pick -= config.refuse_then_comply
    if pick < config.hedged:
        return f"{HEDGES[language]} {comply}"
    pick -= config.hedged
    return f"{GLUE['ok'][language]} ." if pick < config.empty_shell else comply


def _dialogue(config: CorpusConfig, prompt: str, thought: str, reply: str, draw: random.Random) -> str:
    if draw.random() < config.format_share:
        reply = " ".join(part for part in ("<think>", thought, "</think>", reply) if part)
    elif thought and draw.random() < 0.5:
        reply = f"{thought} {reply}"
    return f"{USER} {prompt} {ASSISTANT} {reply}"
