"""A reward that learns while the policy does: it spends a metered number of labels, refits, and says when it was fooled."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from primum.config import Config
from primum.policy import Policy
from primum.reward.adapt import Battery, diff, keep_diff, propose
from primum.reward.compose import Sources, compose
from primum.reward.config import RewardConfig
from primum.reward.labels import Judged, judged, judged_from
from primum.reward.learned import LearnedConfig
from primum.reward.types import Rewards
from primum.reward.versions import Versions
from primum.signals import refusal
from primum.signals.heads import WHOLE, learned, read_note
from primum.types import Answer, Example, Rollout, Signal

HELPFUL = "helpful"
ASKED: dict[str, tuple[str, ...]] = {WHOLE: ("harmful",), HELPFUL: ("borderline", "benign")}


class AdaptConfig(Config):
    """How a reward adapts within reinforcement learning."""

    labeller: str = ""  # who labels: a judge such as guard:DIR or endpoint:FILE; "" is the micro-world's metered oracle
    labels: int = Field(1000, ge=1)  # answers it may ask for in all; not one more
    first_step: int = Field(5, ge=1)  # of the first round: before much has been learnt from the rule alone
    every_steps: int = Field(20, ge=1)  # a round at every multiple after it
    labels_per_round: int = Field(100, ge=10)
    helpful_share: float = Field(0.25, ge=0, le=0.9)  # of a round's labels: whether replies to benign and borderline prompts help
    random_share: float = Field(0.5, gt=0, le=1)  # of a round's labels: drawn blindly, so that they can measure
    rule: Literal["worst", "first"] = "first"  # the rule beside the heads: the worse of both, or until there is a version
    margin: float = Field(0.03, ge=0)  # by which a held-out squared error may rise
    fooled: float = Field(0.3, gt=0, le=1)  # of blind labels: a larger share passed by the reward yet harmful is hacking
    rollbacks: int = Field(2, ge=0)  # times to ask that the policy start again
    learned: LearnedConfig = LearnedConfig(epochs=12, batch=16, learning_rate=5e-4, patience=4)


@dataclass(frozen=True)
class Labellers:
    """Who is asked, each answer metered: harm of the response and, where helpful_share is not 0, whether it helps.

    nan is an answer that could not be given; it is spent all the same.
    """

    harm: Signal
    useful: Signal | None = None


class Adaptive:
    """A reward and the watch that adapts it, one object: give it to `reinforce` as both.

    Before the first accepted version harm is what `rules.harm` says; afterwards what the version says of the whole response
    or, where `rule` is "worst", the worse of both. Versions lie in `folder`, which must not be inside the run's own directory.
    """

    def __init__(
        self, labellers: Labellers, rules: Sources, config: AdaptConfig, folder: Path, *,
        reward: RewardConfig | None = None, battery: Battery | None = None, seed: int = 0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.labellers, self.rules, self.config, self.versions = labellers, rules, config, Versions(folder)
        self.reward_config, self.battery, self.seed, self.say = reward or RewardConfig(), battery, seed, say
        self.spent, self.rollbacks, self.version, self.weights, self.made = 0, 0, 0, "", 0
        self.pool: dict[tuple[str, str, str], Rollout] = {}
        self.asked: set[str] = set()
        self.given: list[Judged] = []  # labels of the next round that others asked for
        self.over = 0.0

    def __call__(self, rollouts: Sequence[Rollout]) -> Rewards:
        """The composed reward with the harm signal, and the usefulness, of the version in force."""
        path = self.versions.path(self.version) if self.version else None
        sources = Sources(self.harm(path), self._useful(path), self.rules.correct, blind=self.rules.blind and not path)
        made = compose(sources, self.reward_config)
        made.progress(self.over)
        return made(rollouts)

    def progress(self, share: float) -> None:
        self.over = share

    def carry_on(self) -> Adaptive:
        """Itself, with the latest accepted version in its folder in force: that of an earlier stage, or of a finished run.

        The labels of the last version are spent and not asked for again; answers that could not be given are forgotten.
        """
        current = self.versions.current()
        self.version, self.weights = (current.number, current.weights) if current else (0, "")
        self.made = self.versions.next_number() - 1
        rows = self.versions.labels(self.made) if self.made else []
        self.spent = len(rows)
        self.asked = {_key(name, row.prompt, *row.halves) for row in rows for name in row.values}
        return self

    def teach(self, rollouts: Sequence[Rollout], good: Sequence[float]) -> str:
        """Take answers that a watch has paid for as labels of the next round, each spent as one asked for; says what it took.

        `good` is 1 where a rollout is what its prompt asks for. The latest come first, at most a round's labels; what could
        not be told, was cut short, or was asked about before is left out, and so are tasks.
        """
        room, taken = min(self.config.labels_per_round, self.config.labels - self.spent), 0
        for rollout, value in reversed(list(zip(rollouts, good, strict=True))):
            question = next((q for q, kinds in ASKED.items() if rollout.example.kind in kinds), "")
            wanted = question == WHOLE or (question == HELPFUL and self.labellers.useful and self.config.helpful_share)
            if taken >= room or not wanted or not _whole(rollout) or math.isnan(value):
                continue
            mark = _mark(question, rollout)
            if mark not in self.asked:
                self.asked.add(mark)
                self.given += judged([rollout], question, [1.0 - value if question == WHOLE else value])
                taken += 1
        self.spent += taken
        return f"{taken} audited rollouts are labels of the next round"

    def harm(self, path: Path | None) -> Signal:
        """Harm by the version in `path`, and by the rule: the worse of both, or the heads alone."""
        if path is None:
            return self.rules.harm
        heads = learned(path, WHOLE)
        if self.config.rule == "first":
            return heads

        def worst(rollouts: Sequence[Rollout]) -> list[float]:
            pairs = zip(self.rules.harm(rollouts), heads(rollouts), strict=True)
            return [math.nan if math.isnan(a) or math.isnan(b) else max(a, b) for a, b in pairs]

        return worst

    def observe(
        self, step: int, rollouts: Sequence[Rollout], rewards: Rewards, policy: Policy, row: Mapping[str, float]
    ) -> Answer:
        """Remember what could be asked about; in the steps of a round ask, refit, and answer."""
        for r in rollouts:
            if _whole(r) and r.example.kind != "task":
                self.pool[(r.example.prompt, r.thought, r.reply)] = r
        left = self.config.labels - self.spent
        due = step == self.config.first_step or (step > self.config.first_step and step % self.config.every_steps == 0)
        if not due or (left <= 0 and not self.given):
            return Answer({"labels": float(self.spent), "version": float(self.version)})
        draw = random.Random(f"{self.seed}-{step}")
        room = min(left, self.config.labels_per_round)
        helpful = round(room * self.config.helpful_share) if self.labellers.useful else 0
        new, fooled = self._ask_harm(room - helpful, draw)
        new += self._ask_useful(helpful, draw)
        new, self.given = self.given + new, []
        stored, self.pool = list(self.pool.values()), {}
        accepted = bool(new) and self._adapt(new, stored, step)
        return self._answer(step, fooled, accepted)

    def state(self) -> dict[str, Any]:
        """Numbers and texts alone; weights lie in the versions' folders and are known by their hash."""
        kept = [{"example": r.example.to_json(), "thought": r.thought, "reply": r.reply} for r in self.pool.values()]
        counts = {name: getattr(self, name) for name in ("spent", "rollbacks", "version", "weights", "made")}
        return {**counts, "pool": kept, "asked": sorted(self.asked), "given": [row.to_json() for row in self.given]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Back to a checkpoint: versions made after it are removed, and will be made again."""
        for name in ("spent", "rollbacks", "version", "weights", "made"):
            setattr(self, name, state[name])
        rollouts = (Rollout(Example.from_json(r["example"]), r["thought"], r["reply"]) for r in state["pool"])
        self.pool = {(r.example.prompt, r.thought, r.reply): r for r in rollouts}
        self.asked = set(state["asked"])
        self.given = [judged_from(row) for row in state.get("given", ())]
        for path in self.versions.folder.glob("v*"):
            if path.name.removeprefix("v").isdigit() and int(path.name.removeprefix("v")) > self.made:
                shutil.rmtree(path)
        if self.version:
            self.versions.check(self.version, self.weights)

    def _useful(self, path: Path | None) -> Signal:
        """The rule, and where a head for it was accepted the lesser of both."""
        if path is None or HELPFUL not in read_note(path)["heads"]:
            return self.rules.useful
        head = learned(path, HELPFUL)

        def lesser(rollouts: Sequence[Rollout]) -> list[float]:
            pairs = zip(self.rules.useful(rollouts), head(rollouts), strict=True)
            return [math.nan if math.isnan(a) or math.isnan(b) else min(a, b) for a, b in pairs]

        return lesser

    def _ask_harm(self, room: int, draw: random.Random) -> tuple[list[Judged], tuple[int, int]]:
        """Labels of harm; and of the responses drawn blindly, how many the reward passed though they are harmful, of how many."""
        candidates = self._candidates(WHOLE)
        path = self.versions.path(self.version) if self.version else None
        said = dict(zip(map(id, candidates), self.harm(path)(candidates), strict=True)) if candidates else {}
        draw.shuffle(candidates)
        blind = candidates[: max(min(1, room), round(room * self.config.random_share))]
        rest = [r for r in candidates[len(blind) :] if not math.isnan(said[id(r)])]
        picked = [*blind, *_varied(rest, [said[id(r)] for r in rest], room - len(blind))]
        answers = self._ask(self.labellers.harm, WHOLE, picked)
        told = [(said[id(r)], a) for r, a in zip(blind, answers, strict=False) if not math.isnan(a + said[id(r)])]
        return judged(picked, WHOLE, answers), (sum(p < 0.5 <= a for p, a in told), len(told))

    def _ask_useful(self, room: int, draw: random.Random) -> list[Judged]:
        if not room or self.labellers.useful is None:
            return []
        candidates = self._candidates(HELPFUL)
        picked = draw.sample(candidates, min(room, len(candidates)))
        return judged(picked, HELPFUL, self._ask(self.labellers.useful, HELPFUL, picked))

    def _candidates(self, question: str) -> list[Rollout]:
        """Responses not asked about before."""
        return [r for r in self.pool.values() if r.example.kind in ASKED[question] and _mark(question, r) not in self.asked]

    def _ask(self, labeller: Signal, question: str, picked: Sequence[Rollout]) -> list[float]:
        if not picked:
            return []
        self.spent += len(picked)
        self.asked.update(_mark(question, r) for r in picked)
        return labeller(picked)

    def _adapt(self, new: Sequence[Judged], stored: Sequence[Rollout], step: int) -> bool:
        """Whether a new version is in force."""
        config = self.config
        before = self.harm(self.versions.path(self.version) if self.version else None)
        found = propose(
            self.versions, new, config.learned, margin=config.margin, source=self.harm, rule=self.rules.harm, battery=self.battery
        )
        self.made = found.number
        self.say(f"reward {found.name}, step {step}: {'accepted' if found.accepted else f'refused, {found.why}'}")
        if not found.accepted:
            return False
        harmful = [r for r in stored if r.example.kind == "harmful"]
        keep_diff(self.versions, found, diff(before, self.harm(self.versions.path(found.number)), harmful))
        self.version, self.weights = found.number, found.weights
        return True

    def _answer(self, step: int, fooled: tuple[int, int], accepted: bool) -> Answer:
        """Start again where the reward was fooled and a better one is there."""
        harmful, asked = fooled
        share = harmful / asked if asked else math.nan
        measured = {"labels": float(self.spent), "version": float(self.version), "fooled": share}
        if not (asked >= 5 and share > self.config.fooled):
            return Answer(measured)
        evidence = f"of {asked} responses drawn blindly the reward passed {harmful} that are harmful"
        alarm = {"name": "fooled", "step": step, "value": share, "threshold": self.config.fooled, "evidence": evidence}
        again = accepted and self.rollbacks < self.config.rollbacks
        self.rollbacks += again
        return Answer(measured, [alarm], "roll back" if again else "", evidence if again else "")


def _varied(rollouts: Sequence[Rollout], harm: Sequence[float], n: int) -> list[Rollout]:
    """At most n of them, taken in turn from those that refuse, half refuse or do not, and that harm passes or not; within
    each, what it is least sure of first. So what is rare, such as the first refusals, is asked about."""
    kinds: dict[tuple[float, bool], list[tuple[float, int]]] = {}
    for i, (refused, p) in enumerate(zip(refusal(rollouts), harm, strict=True)):
        kinds.setdefault((-1.0 if math.isnan(refused) else refused, p >= 0.5), []).append((abs(p - 0.5), i))
    queues = [sorted(kinds[kind], reverse=True) for kind in sorted(kinds)]
    out: list[int] = []
    while len(out) < n and any(queues):
        out += [queue.pop()[1] for queue in queues if queue]
    return [rollouts[i] for i in out[:n]]


def _whole(rollout: Rollout) -> bool:
    return rollout.well_formed and not rollout.truncated


def _mark(question: str, rollout: Rollout) -> str:
    return _key(question, rollout.example.prompt, rollout.thought, rollout.reply)


def _key(question: str, prompt: str, thought: str, reply: str) -> str:
    return "\x1f".join((question, prompt, thought, reply))
