"""The micro-world's corpus: examples of every kind, split by the role of their harm category."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import Field

from primum.config import Config
from primum.microworld.language import DIGITS, FORM_SHARES, Language, language_of
from primum.microworld.meaning import CATEGORIES, Request, read_request
from primum.microworld.prompts import (
    demonstrate,
    draw_benign,
    draw_harmful,
    draw_sum,
    say_answer,
    say_counter,
    say_request,
    say_steps,
    say_sum,
    twin,
    work_out,
)
from primum.types import BadInput, Corpus, Example, Kind


class MicroworldConfig(Config):
    """Which categories are trained on, and how many examples of each kind there are."""

    train: list[str] = Field(["H1", "H2"], min_length=1)
    validation: list[str] = Field(["H4"], min_length=1)
    test: list[str] = Field(["H3", "H5", "H6", "H7", "H8"])
    share_a: float = Field(0.6, ge=0, le=1)  # prompts in language A
    train_share_a: float | None = Field(None, ge=0, le=1)  # the same of training and validation, where it is another
    train_forms: int = Field(5, ge=1, le=5)  # of a verb's forms training and validation use the commonest so many; 5 are all
    train_examples: int = Field(2400, ge=8)  # over the four kinds, evenly
    validation_examples: int = Field(160, ge=8)
    test_examples: int = Field(80, ge=1)  # per harm category; as many look-alikes each, and 3× as many benign and tasks


def build_corpus(config: MicroworldConfig, seed: int) -> Corpus:
    """Examples with demonstrations, no prompt twice, and no harm of a held-out category in training.

    Test prompts of trained categories are new wordings, of meanings that training may know; a
    look-alike may mean what a trained one means (`break stone` resembles H1 and H5).
    """
    roles = {"train": config.train, "validation": config.validation, "test": config.test}
    named = [name for names in roles.values() for name in names]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise BadInput(f"{', '.join(twice)} named in two roles or twice", "microworld roles", "give each category one role")
    for name in named:
        if name not in CATEGORIES:
            raise BadInput(f"no harm category '{name}'", "microworld roles", f"choose among {', '.join(CATEGORIES)}")
    maker = _Maker(config.share_a, random.Random(f"corpus-{seed}"))
    n = config.test_examples
    test = [e for name in named for e in maker.pairs(name, n)] + maker.benign(3 * n) + maker.tasks(3 * n)
    maker.share_a = config.share_a if config.train_share_a is None else config.train_share_a
    maker.forms = config.train_forms
    validation = maker.split(config.validation, config.validation_examples)
    train = [countered(e) for e in maker.split(config.train, config.train_examples)]
    return Corpus(train, validation, test, roles)


def countered(example: Example) -> Example:
    """The example with a thought to begin wrongly by, unsafe or over-refusing; a task has none."""
    request, language = read_request(example.prompt), language_of(example.prompt)
    return replace(example, counter=say_counter(request, language)) if request.steps else example


class _Maker:
    """Draws examples whose prompts do not repeat."""

    def __init__(self, share_a: float, draw: random.Random) -> None:
        self.share_a, self.draw = share_a, draw
        self.forms = len(FORM_SHARES)
        self.seen: set[str] = set()
        self.count = 0

    def split(self, categories: list[str], examples: int) -> list[Example]:
        quarter = examples // 4
        pairs = [self.pairs(name, max(1, quarter // len(categories))) for name in categories]
        return [*(e for pair in pairs for e in pair), *self.benign(quarter), *self.tasks(quarter)]

    def pairs(self, category: str, n: int) -> list[Example]:
        """n harmful examples of a category, and their n harmless twins."""
        out: list[Example] = []
        for _ in range(n):
            first = self._request("harmful", category, lambda: draw_harmful(category, self.draw))
            request, language = read_request(first.prompt), language_of(first.prompt)
            second = self._request("borderline", category, partial(twin, request, category, self.draw), language)
            out += [replace(first, twin=second.id), second]
        return out

    def benign(self, n: int) -> list[Example]:
        return [self._request("benign", "", lambda: draw_benign(self.draw)) for _ in range(n)]

    def tasks(self, n: int) -> list[Example]:
        out = []
        for _ in range(n):
            language = self._language()
            terms, prompt = self._unseen(partial(draw_sum, self.draw), partial(say_sum, language=language))
            thought, value = work_out(terms, language)
            reply = say_answer(value, language)
            out.append(self._example(prompt, "task", "", answer=DIGITS[language][value], thought=thought, reply=reply))
        return out

    def _request(self, kind: Kind, category: str, make: Callable[[], Request], language: Language | None = None) -> Example:
        said = language or self._language()
        request, prompt = self._unseen(make, lambda r: say_request(r, said, self.draw, self.forms))
        thought, reply = demonstrate(request, said, self.draw)
        meaning = f"{say_steps(request.steps, 'A')} | {request.context}"
        return self._example(prompt, kind, category, thought=thought, reply=reply, meaning=meaning)

    def _unseen(self, make: Callable[[], Any], say: Callable[[Any], str]) -> tuple[Any, str]:
        for _ in range(1000):
            thing = make()
            prompt = say(thing)
            if prompt not in self.seen:
                self.seen.add(prompt)
                return thing, prompt
        raise BadInput("the micro-world has no more different prompts", "microworld", "ask for fewer examples")

    def _language(self) -> Language:
        return "A" if self.draw.random() < self.share_a else "B"

    def _example(self, prompt: str, kind: Kind, category: str, **demonstration: str) -> Example:
        self.count += 1
        told = {"prompt": prompt, "kind": kind, "category": category, **demonstration}
        return Example.from_json({"id": f"mw-{self.count:05d}", "source": "microworld", **told})
