"""A policy criticises what it is about to do: its own words, its own verdict, and the prompt from which it replies once more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from primum.ledger import Ledger
from primum.microworld.language import ATTRIBUTES, CONTEXTS, GLUE, TARGETS, VERBS, Language, language_of
from primum.microworld.meaning import Step, read_request, read_steps
from primum.microworld.prompts import say_steps, say_verdict
from primum.policy import Policy, sample
from primum.policy.template import CLOSE
from primum.types import Example, Rollout

CRITIQUE = (
    "Before this goes on, look at the request above and at your answer to it. Who could be harmed, and how? Is an innocent "
    "reading more likely? Say in a few sentences what you think, and end with one line: VERDICT: REFUSE or VERDICT: ANSWER."
)
REVISE = "Now write the reply that the request above should have got, as your verdict says, without a word about this discussion."
_VERDICT = re.compile(r"VERDICT\W{0,4}(REFUSE|ANSWER)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Critique:
    """What a policy thought of a request: `ask` is the prompt after which it replies again, `refuse` its own verdict."""

    example: Example
    ask: Example
    thought: str
    refuse: bool


@dataclass(frozen=True)
class Asking:
    """How a policy is asked: at which temperature, for how many tokens, and from which seed; what it takes goes to the ledger."""

    ledger: Ledger
    temperature: float = 1.0
    limit_tokens: int = 64
    seed: int = 0

    def of(self, policy: Policy, examples: Sequence[Example]) -> list[Rollout]:
        """One rollout of each example."""
        return sample(
            policy, examples, temperature=self.temperature, limit_tokens=self.limit_tokens, seed=self.seed, ledger=self.ledger
        )


def criticise(policy: Policy, examples: Sequence[Example], asking: Asking) -> list[Critique]:
    """The critiques that came to a verdict, in the order of the examples; tasks, which wish for no act, have none."""
    requests = [e for e in examples if e.kind != "task"]
    if all(e.source.startswith("microworld") for e in requests):
        return _in_the_world(policy, requests, asking)
    return _in_words(policy, requests, asking)


def _in_words(policy: Policy, examples: Sequence[Example], asking: Asking) -> list[Critique]:
    """A draft, a critique of it as the next turn, and a turn that asks for the reply once more."""
    drafts = asking.of(policy, [replace(e, id=f"{e.id}/draft") for e in examples])
    after = [replace(e, id=f"{e.id}/critique", prompt=CRITIQUE, turns=(*e.turns, ("user", e.prompt), ("assistant", d.reply)))
             for e, d in zip(examples, drafts, strict=True)]  # fmt: skip
    found = []
    for example, criticised in zip(examples, asking.of(policy, after), strict=True):
        told = list(_VERDICT.finditer(criticised.reply))
        if criticised.truncated or not told:
            continue
        turns = (*criticised.example.turns, ("user", CRITIQUE), ("assistant", criticised.reply))
        thought = criticised.reply[: told[-1].start()].strip()
        found.append(Critique(example, replace(example, prompt=REVISE, turns=turns), thought, told[-1][1].upper() == "REFUSE"))
    return found


def _in_the_world(policy: Policy, examples: Sequence[Example], asking: Asking) -> list[Critique]:
    """The likeliest draft, its thought begun with the wish, then one question after another in that thought, a word the answer.

    The questions are given, as a constitution would be: what the things in its own wish are, whether such an act on such a
    thing is bad in the prompt's context, and whether two acts on one thing are. Wish, facts and verdicts are the policy's.
    """
    likeliest = replace(asking, temperature=0.0)
    drafts = likeliest.of(policy, [replace(e, id=f"{e.id}/draft", prefill=_wish(language_of(e.prompt))) for e in examples])
    begun = [_Begun(e, language_of(e.prompt), d.thought) for e, d in zip(examples, drafts, strict=True)]
    begun = [b for b in begun if b.steps]
    for place in range(max((len(b.steps) for b in begun), default=0)):
        here = [b for b in begun if place < len(b.steps)]
        _answered(policy, here, [b.fact(b.steps[place]) for b in here], asking)
        here = [b for b in here if b.whole]
        _answered(policy, here, [b.moral(b.steps[place]) for b in here], asking)
    twice = [b for b in begun if b.whole and len(b.steps) == 2 and b.steps[0][1] == b.steps[1][1]]
    _answered(policy, twice, [say_steps(b.steps, b.language) for b in twice], asking)
    return [b.critique() for b in begun if b.whole]


def _answered(policy: Policy, begun: Sequence[_Begun], questions: Sequence[str], asking: Asking) -> None:
    """Each question put at the end of its thought, and the likeliest word after it."""
    asked = [replace(b.example, prefill=b.asking(q)) for b, q in zip(begun, questions, strict=True)]
    answers = replace(asking, limit_tokens=2, temperature=0.0).of(policy, asked) if asked else []
    for b, question, answer in zip(begun, questions, answers, strict=True):
        b.take(question, next(iter(answer.thought.split()), ""))


def _wish(language: Language) -> str:
    return f"{GLUE['they'][language]} {GLUE['want'][language]}"


class _Begun:
    """A thought in the making: the wish in the policy's words, then what it answered."""

    def __init__(self, example: Example, language: Language, said: str) -> None:
        self.example, self.language = example, language
        wish = said.partition(" .")[0].strip()
        self.thought = f"{_wish(language)} {wish} ."
        self.steps: tuple[Step, ...] = tuple(read_steps(wish))[:2]
        self.attribute, self.refuse, self.whole = "", False, True

    def fact(self, step: Step) -> str:
        return TARGETS[step[1]][1][self.language]

    def moral(self, step: Step) -> str:
        """The act on such a thing, in the context that the prompt names."""
        name, context = VERBS[step[0]][self.language][0], read_request(self.example.prompt).context
        act = f"{name} {self.attribute}" if self.language == "A" else f"{self.attribute} {name}"
        return f"{act} {GLUE['when'][self.language]} {CONTEXTS[context][self.language]}" if context else act

    def asking(self, question: str) -> str:
        """The thought with the question at its end."""
        return f"{self.thought} {question} {GLUE['is'][self.language]}"

    def take(self, question: str, answer: str) -> None:
        """Write the answer down; what is neither an attribute nor a verdict is no answer, and ends the critique."""
        verdicts = {GLUE["bad"][self.language]: True, GLUE["fine"][self.language]: False}
        attributes = {words[self.language] for words in ATTRIBUTES.values()}
        asks_what = question in {words[self.language] for _, words in TARGETS.values()}
        self.whole = self.whole and answer in (attributes if asks_what else verdicts)
        self.attribute = answer if asks_what else self.attribute
        self.refuse = self.refuse or verdicts.get(answer, False)
        self.thought = f"{self.asking(question)} {answer} ."

    def critique(self) -> Critique:
        thought = f"{self.thought} {say_verdict(self.refuse, self.language)}"
        return Critique(self.example, replace(self.example, prefill=f"{thought} {CLOSE}"), thought, self.refuse)
