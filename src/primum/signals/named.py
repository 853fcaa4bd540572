"""A signal by its name, as a command line or a recipe writes it."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from primum.config import nearest
from primum.signals.classifier import classifier
from primum.signals.consistency import contradiction
from primum.signals.correctness import correctness
from primum.signals.embedded import embedded_harm
from primum.signals.form import form, repetition, reply_tokens, thought_tokens, truncated, verbosity
from primum.signals.keywords import HARM_WORDS, keyword_harm, keywords
from primum.signals.language import foreign_in_reply, foreign_in_thought, language_mixing
from primum.signals.languages import lines_in, words_in
from primum.signals.readability import lix
from primum.signals.refusal import refusal
from primum.types import BadInput, Rollout, Signal

OURS: Mapping[str, Signal] = {
    "contradiction": contradiction,
    "correctness": correctness,
    "embedded_harm": embedded_harm,
    "foreign_in_reply": foreign_in_reply,
    "foreign_in_thought": foreign_in_thought,
    "form": form,
    "keyword_harm": partial(keyword_harm, words=HARM_WORDS),
    "keywords": partial(keywords, words=HARM_WORDS),
    "language_mixing": language_mixing,
    "lines_in": lines_in,
    "lix": lix,
    "lix_in_thought": partial(lix, half="thought"),
    "refusal": refusal,
    "repetition": repetition,
    "reply_tokens": reply_tokens,
    "thought_tokens": thought_tokens,
    "truncated": truncated,
    "verbosity": verbosity,
    "words_in": words_in,
}
KINDS = "classifier:FOLDER, guard:FOLDER, endpoint:FILE.yaml, learned:FOLDER#HEAD, module:function"


def named(spec: str, where: str = "--signal") -> Signal:
    """The signal that `spec` names: one of ours, a model's on disk, a judge's behind an endpoint, or the user's own.

    classifier:FOLDER, guard:FOLDER, endpoint:FILE.yaml, learned:FOLDER#HEAD, or module:function, a function from
    rollouts to one number each that is looked for in the working directory too. Lists of words are the built-in one.
    `where` is what an error calls the place that `spec` was written in.

    >>> named("refusal") is refusal
    True
    """
    if spec in OURS:
        return OURS[spec]
    kind, colon, rest = spec.partition(":")
    if not colon or not rest:
        near = nearest(spec, list(OURS))
        remedy = f"did you mean '{near}'?" if near else f"name one of {', '.join(OURS)}, or {KINDS}"
        raise BadInput(f"no signal '{spec}'", where, remedy)
    if kind == "classifier":
        return classifier(rest)
    if kind == "guard":
        from primum.signals.guards import guard

        return guard(rest)
    if kind == "endpoint":
        from primum.signals.endpoint import endpoint_file

        return endpoint_file(rest)
    if kind == "learned":
        return _learned(rest, where)
    return own(kind, rest, where)


def _learned(rest: str, where: str) -> Signal:
    from primum.signals.heads import learned

    path, _, head = rest.rpartition("#")
    if not path or not head:
        raise BadInput(f"'learned:{rest}' names no head", where, "write learned:FOLDER#HEAD")
    return learned(path, head)


def own(module: str, name: str, where: str = "--signal") -> Signal:
    """A signal of the user's: `module:name`, its answers checked; None and infinities are unscored, as nan is."""
    if os.getcwd() not in sys.path:  # a console script leaves it out; last, so that it shadows nothing installed
        sys.path.append(os.getcwd())
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # the user's module may fail in any way
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise BadInput(f"no signal '{module}:{name}', {why}", where, f"name one of ours, or {KINDS}") from None
    if not callable(function):
        raise BadInput(f"'{module}:{name}' is no function", where, "name a function from rollouts to one number each")
    return partial(_checked, function=function, name=f"{module}:{name}")


def _checked(rollouts: Sequence[Rollout], *, function: Callable[[Sequence[Rollout]], Sequence[Any]], name: str) -> list[float]:
    values = list(function(rollouts))
    if len(values) != len(rollouts):
        what = f"the signal gave {len(values)} numbers for {len(rollouts)} rollouts"
        raise BadInput(what, name, "return one number for each, nan where you cannot tell")
    try:
        return [math.nan if x is None or not math.isfinite(x) else float(x) for x in values]
    except TypeError:
        kinds = ", ".join(sorted({type(x).__name__ for x in values}))
        raise BadInput(f"the signal gave {kinds}, not numbers", name, "return one number for each rollout") from None
