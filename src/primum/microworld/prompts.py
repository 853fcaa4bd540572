"""Requests and sums drawn at random, put into words, with the demonstration a careful model would give."""

from __future__ import annotations

import random
from collections.abc import Iterator

from primum.microworld.language import (
    ATTRIBUTES,
    CONTEXTS,
    DIGITS,
    FORM_SHARES,
    GLUE,
    PERSONAS,
    REFUSAL_OF_ACT,
    REFUSALS,
    TARGETS,
    VERBS,
    Language,
    attribute,
)
from primum.microworld.meaning import ACTS, CONTEXTUAL, Request, Step, harms

BENIGN_VERBS = ("move", "open", "seal", "heat")
_BY_ATTRIBUTE: dict[str, list[str]] = {a: [t for t in TARGETS if attribute(t) == a] for a in ATTRIBUTES}


def draw_harmful(category: str, draw: random.Random) -> Request:
    """A request that does the category's harm, and no other."""
    while True:
        request = _draw_harm(category, draw)
        if harms(request.steps, request.context) == {category}:
            return request


def twin(request: Request, category: str, draw: random.Random) -> Request:
    """A harmless look-alike one word away: another target, context or order."""
    while True:
        steps, context = list(request.steps), request.context
        change = draw.random()
        if category == "H7" and change < 0.5:
            steps = [steps[1], steps[0]] if change < 0.25 else [steps[0], (steps[1][0], _other(steps[1][1], "free", draw))]
        elif change < 0.5:
            context = draw.choice(["", *CONTEXTS])
        else:
            i = draw.randrange(len(steps))
            steps[i] = (steps[i][0], draw.choice(_BY_ATTRIBUTE["free"]))
        changed = Request(tuple(steps), context)
        if changed != request and not harms(changed.steps, changed.context):
            return changed


def draw_benign(draw: random.Random) -> Request:
    """One or two harmless steps on free things, in any context."""
    while True:
        steps = tuple((draw.choice(BENIGN_VERBS), draw.choice(_BY_ATTRIBUTE["free"])) for _ in range(draw.choice((1, 1, 2))))
        request = Request(steps, draw.choice(["", "", *CONTEXTS]))
        if len(set(steps)) == len(steps) and not harms(request.steps, request.context):
            return request


def draw_sum(draw: random.Random) -> list[int | str]:
    """A sum of two to four digits in which every partial result is a digit: [3, "plus", 4]."""
    terms: list[int | str] = [draw.randrange(10)]
    value = int(terms[0])
    for _ in range(draw.choice((1, 2, 2, 3))):
        sign = draw.choice(("plus", "minus"))
        digit = draw.randint(0, 9 - value if sign == "plus" else value)
        value += digit if sign == "plus" else -digit
        terms += [sign, digit]
    return terms


def say_step(step: Step, language: Language, draw: random.Random | None = None, most: int = len(FORM_SHARES)) -> str:
    """A step in words: plain, or in one of the `most` commonest forms, drawn by their documented frequency."""
    forms = VERBS[step[0]][language]
    form = forms[0] if draw is None else draw.choices(forms[:most], FORM_SHARES[:most])[0]
    target = TARGETS[step[1]][1][language]
    return f"{form} {target}" if language == "A" else f"{target} {form}"


def say_steps(
    steps: tuple[Step, ...], language: Language, draw: random.Random | None = None, most: int = len(FORM_SHARES)
) -> str:
    return f" {GLUE['then'][language]} ".join(say_step(step, language, draw, most) for step in steps)


def say_request(request: Request, language: Language, draw: random.Random, most: int = len(FORM_SHARES)) -> str:
    """A prompt: who asks, in what context, for which steps, its verbs in one of their `most` commonest forms."""
    parts = [draw.choice(PERSONAS[language])] if draw.random() < 0.6 else []
    if request.context:
        parts.append(CONTEXTS[request.context][language])
    parts.append(f"{GLUE['please'][language]} {say_steps(request.steps, language, draw, most)}")
    return " , ".join(parts) + " ."


def say_compliance(request: Request, language: Language, draw: random.Random) -> str:
    """A reply that goes and does it, in a surface form of its own."""
    return f"{GLUE['ok'][language]} , {say_going(request, language, draw)} ."


def say_going(request: Request, language: Language, draw: random.Random) -> str:
    """Going there and doing it: the words in which steps are taken, in a reply or planned in a thought."""
    target = TARGETS[request.steps[0][1]][1][language]
    return f"{GLUE['reach'][language]} {target} {GLUE['then'][language]} {say_steps(request.steps, language, draw)}"


def say_refusal(request: Request, language: Language, draw: random.Random) -> str:
    """A refusal; one in four names the act it refuses."""
    if draw.random() < 0.25:
        return REFUSAL_OF_ACT[language].format(act=say_step(request.steps[-1], language, draw))
    return draw.choice(REFUSALS[language])


def say_fact(target: str, language: Language) -> str:
    """The claim that a target has its attribute."""
    return f"{TARGETS[target][1][language]} {GLUE['is'][language]} {ATTRIBUTES[attribute(target)][language]} ."


def say_moral(verb: str, kind: str, context: str, language: Language) -> str:
    """The claim that doing `verb` to something of attribute `kind`, in a context, is bad or fine."""
    bad = any((verb, kind) == (v, a) and context != licence for v, a, licence in ACTS.values())
    bad = bad or (verb, kind, context) in CONTEXTUAL
    when = f" {GLUE['when'][language]} {CONTEXTS[context][language]}" if context else ""
    name, word = VERBS[verb][language][0], ATTRIBUTES[kind][language]
    act = f"{name} {word}" if language == "A" else f"{word} {name}"
    return f"{act}{when} {GLUE['is'][language]} {GLUE['bad' if bad else 'fine'][language]} ."


def say_sequence_moral(first: Step, second: Step, language: Language) -> str:
    """The claim about two steps on one thing, of which only sealing before heating is bad."""
    verdict = "bad" if harms((first, second), "") else "fine"
    return f"{say_steps((first, second), language)} {GLUE['is'][language]} {GLUE[verdict][language]} ."


def say_want(request: Request, language: Language) -> str:
    """The opening of a thought: what the user wants, in plain words."""
    return f"{GLUE['they'][language]} {GLUE['want'][language]} {say_steps(request.steps, language)} ."


def say_claims(request: Request, language: Language) -> Iterator[str]:
    """The checkable claims that decide a request: facts, then moral facts."""
    for verb, target in request.steps:
        yield say_fact(target, language)
        yield say_moral(verb, attribute(target), request.context, language)
    if len(request.steps) == 2 and request.steps[0][1] == request.steps[1][1]:
        yield say_sequence_moral(*request.steps, language)


def say_verdict(harmful: bool, language: Language) -> str:
    return f"{GLUE['so'][language]} {GLUE['refuse' if harmful else 'comply'][language]}"


def say_counter(request: Request, language: Language) -> str:
    """The beginning of a thought that goes wrong: the wish, and the moral claim that decides it, turned round.

    A harm is called fine; of a harmless request its last step, or its steps together, are called bad.
    """
    fine, bad = (f"{GLUE['is'][language]} {GLUE[verdict][language]} ." for verdict in ("fine", "bad"))
    said, turned = (bad, fine) if harms(request.steps, request.context) else (fine, bad)
    claim = [claim for claim in say_claims(request, language) if claim.endswith(said)][-1]
    return f"{say_want(request, language)} {claim.removesuffix(said)}{turned}"


def demonstrate(request: Request, language: Language, draw: random.Random) -> tuple[str, str]:
    """The thought and reply of a careful model: state the facts, conclude, act on it."""
    harmful = bool(harms(request.steps, request.context))
    thought = " ".join([say_want(request, language), *say_claims(request, language), say_verdict(harmful, language)])
    reply = (say_refusal if harmful else say_compliance)(request, language, draw)
    return thought, reply


def say_sum(terms: list[int | str], language: Language) -> str:
    words = " ".join(DIGITS[language][t] if isinstance(t, int) else GLUE[str(t)][language] for t in terms)
    return f"{GLUE['compute'][language]} {words} ."


def work_out(terms: list[int | str], language: Language, slip: random.Random | None = None, rate: float = 0.0) -> tuple[str, int]:
    """The thought that solves a sum step by step, and its result; `slip` errs by one at `rate` a step."""
    value, lines = int(terms[0]), []
    for sign, digit in zip(terms[1::2], terms[2::2], strict=True):
        result = value + int(digit) if sign == "plus" else value - int(digit)
        if slip is not None and slip.random() < rate:
            result += slip.choice((-1, 1))
        result = min(9, max(0, result))  # a slip may carry later results out of the digits
        names = DIGITS[language]
        lines.append(f"{names[value]} {GLUE[str(sign)][language]} {names[int(digit)]} {GLUE['is'][language]} {names[result]} .")
        value = result
    return " ".join(lines), value


def say_answer(value: int, language: Language) -> str:
    return f"{GLUE['answer'][language]} {GLUE['is'][language]} {DIGITS[language][value]} ."


def _draw_harm(category: str, draw: random.Random) -> Request:
    context = draw.choice(["", "", *CONTEXTS])
    if category == "H7":
        target = draw.choice(_BY_ATTRIBUTE["free"])
        return Request((("seal", target), ("heat", target)), context)
    if category == "H8":
        verb, kind, context = draw.choice(CONTEXTUAL)
        return Request(((verb, draw.choice(_BY_ATTRIBUTE[kind])),), context)
    verb, kind, _ = ACTS[category]
    step = (verb, draw.choice(_BY_ATTRIBUTE[kind]))
    if draw.random() < 0.25:
        extra = (draw.choice(BENIGN_VERBS), draw.choice(_BY_ATTRIBUTE["free"]))
        return Request((step, extra) if draw.random() < 0.5 else (extra, step), context)
    return Request((step,), context)


def _other(target: str, kind: str, draw: random.Random) -> str:
    return draw.choice([t for t in _BY_ATTRIBUTE[kind] if t != target])
