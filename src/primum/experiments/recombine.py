"""New micro-world requests out of the words of given ones, labelled by the metered oracle; nothing of held-out categories."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from primum.microworld import Oracle
from primum.microworld.language import CONTEXT_OF, GLUE, PERSONAS, TARGET_OF, VERB_OF, Language, attribute, language_of
from primum.microworld.meaning import ACTS, CONTEXTUAL, Request, harms, read_request
from primum.microworld.prompts import demonstrate, say_compliance, say_steps
from primum.types import Example, Kind, Rollout

MOST = 400  # prompts said for each one that is wanted
Place = tuple[str, str, int]  # kind, category, steps
_PERSONA = frozenset(word for words in PERSONAS.values() for word in words)


@dataclass
class Words:
    """What the given prompts of one language say: verbs' forms, targets, contexts and personas, each as often as they say it."""

    verbs: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)  # "" where there is none
    personas: list[str] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)


def recombined(
    given: Sequence[Example], held: Collection[str], tested: Collection[str], each: int, oracle: Oracle, seed: int
) -> list[Example]:
    """New harmful and borderline prompts with demonstrations, `each` of every category of the given ones or as many as come up.

    Their words are those of given prompts of their language, each as likely as it is there, and as many of them ask for two steps
    as of the given ones of their kind and category: most new requests would otherwise be long. The oracle is asked whether it
    would be harmful to comply; a prompt about which it and the writer of the demonstration disagree is left out. So are given
    prompts, those in `tested`, and whatever comes near a category in `held`: its act in any context, licensed or not.
    """
    draw = random.Random(f"recombine-{seed}")
    words, languages = inventory(given), [language_of(e.prompt) for e in given]
    seen = {*tested, *(e.prompt for e in given)}
    room = _room(given, each)
    made: dict[Place, list[Example]] = {place: [] for place in room}
    for _ in range(MOST * sum(room.values())):
        if all(len(pile) == room[place] for place, pile in made.items()):
            break
        language = draw.choice(languages)
        prompt = say(words[language], language, draw)
        request = read_request(prompt)
        if prompt in seen or touches(request, held) or not (categories := resembled(request, held)):
            continue
        category = draw.choice(categories)
        example = _demonstrated(Example(f"new-{len(seen):05d}", prompt, "borderline", category), request, draw)
        place = (example.kind, category, len(request.steps))
        if len(made.get(place, ())) < room.get(place, 0):
            seen.add(prompt)
            (harmful,) = oracle.harm([Rollout(example, "", say_compliance(request, language, draw))])
            made[place] += [example] if (harmful >= 0.5) == (example.kind == "harmful") else []
    return [e for pile in made.values() for e in pile]


def _room(given: Sequence[Example], each: int) -> dict[Place, int]:
    """How many prompts of every kind, category and number of steps are wanted."""
    places = Counter((e.kind, e.category, len(read_request(e.prompt).steps)) for e in given)
    sizes = Counter((e.kind, e.category) for e in given)
    return {place: round(each * n / sizes[place[:2]]) for place, n in places.items()}


def _demonstrated(example: Example, request: Request, draw: random.Random) -> Example:
    """The example with its kind, its meaning, and what a careful writer would answer."""
    thought, reply = demonstrate(request, language_of(example.prompt), draw)
    kind: Kind = "harmful" if harms(request.steps, request.context) else "borderline"
    meaning = f"{say_steps(request.steps, 'A')} | {request.context}"
    return replace(example, kind=kind, meaning=meaning, thought=thought, reply=reply, source="microworld")


def inventory(given: Sequence[Example]) -> dict[Language, Words]:
    """The words of the given prompts by language."""
    found: dict[Language, Words] = {"A": Words(), "B": Words()}
    for e in given:
        mine, said = found[language_of(e.prompt)], e.prompt.split()
        mine.verbs += [w for w in said if w in VERB_OF]
        mine.targets += [w for w in said if w in TARGET_OF]
        mine.contexts.append(next((w for w in said if w in CONTEXT_OF), ""))
        mine.personas.append(next((w for w in said if w in _PERSONA), ""))
        mine.steps.append(len(read_request(e.prompt).steps))
    return found


def say(words: Words, language: Language, draw: random.Random) -> str:
    """A prompt of drawn words: persona, context, and one step or two."""
    steps = []
    for _ in range(draw.choice(words.steps)):
        verb, target = draw.choice(words.verbs), draw.choice(words.targets)
        steps.append(f"{verb} {target}" if language == "A" else f"{target} {verb}")
    head = [part for part in (draw.choice(words.personas), draw.choice(words.contexts)) if part]
    asked = f" {GLUE['then'][language]} ".join(steps)
    return " , ".join([*head, f"{GLUE['please'][language]} {asked}"]) + " ."


def touches(request: Request, held: Collection[str]) -> bool:
    """Whether a request does, or in another context or order would do, the act of a category in `held`."""
    pairs = {(verb, attribute(target)) for verb, target in request.steps}
    if any((verb, kind) in pairs for name, (verb, kind, _) in ACTS.items() if name in held):
        return True
    if "H8" in held and any((verb, kind) in pairs for verb, kind, _ in CONTEXTUAL):
        return True
    sealed, heated = ({target for verb, target in request.steps if verb == act} for act in ("seal", "heat"))
    return "H7" in held and bool(sealed & heated)


def resembled(request: Request, held: Collection[str]) -> list[str]:
    """The categories of a request's harm, or those that a harmless one resembles, by a verb or by two steps; none of `held`.

    Empty where it resembles none but those in `held`, or does two harms of which one is held.
    """
    done = harms(request.steps, request.context)
    if done:
        return [] if done & set(held) else sorted(done)
    verbs = {verb for verb, _ in request.steps}
    alike = [name for name, (verb, _, _) in ACTS.items() if verb in verbs]
    alike += ["H7"] if {"seal", "heat"} <= verbs else []
    alike += ["H8"] if verbs & {verb for verb, _, _ in CONTEXTUAL} else []
    return [name for name in alike if name not in held]
