"""Distinct rollouts to time signals on: the micro-world's demonstrations, and made-up prose in four languages."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from primum.microworld import MicroworldConfig, build_corpus
from primum.types import KINDS, Example, Kind, Rollout

LengthName = Literal["microworld", "paragraph", "page"]
SENTENCES = {"paragraph": (7, 4), "page": (20, 24)}  # of thought and reply


@dataclass(frozen=True)
class Tongue:
    """What a made-up writer in one language says; {n} is a number, {thing} one of the things."""

    prompt: str
    sentences: tuple[str, ...]
    things: tuple[str, ...]
    verdicts: tuple[str, str]  # of a thought, to comply and to refuse
    declines: str
    space: str = " "


ENGLISH = Tongue(
    "Can you explain how the {thing} works, and what changed in {n}?",
    (
        "The {thing} was bought {n} years ago and has been repaired twice since then.",
        "Most people start with the {thing}, because it's the part that is easiest to reach.",
        "You'll need about {n} minutes, a clean table, and somebody who doesn't mind waiting.",
        "First, write down what you expect from the {thing}; then compare it with what you see.",
        "In practice the numbers aren't exact: {n} is closer to an estimate than to a measurement.",
        "If the {thing} does not move, check whether it was locked before you try again.",
        "A friend of mine kept a {thing} in the cellar, next to the jars and the old bicycles.",
        "It costs less than {n} euros, which is a lot for a household that buys one every year.",
        "However, the manual says nothing about rain, wind, or what to do when the power fails.",
        "- Put the {thing} on the left side, and keep {n} centimetres of space around it.",
        "That is why the committee asked for a second opinion on the {thing} before it decided.",
        "I would rather read the report from page {n} onwards than trust a summary of it.",
        "The city archive lists {n} letters about it, most of them written by the same person.",
    ),
    ("lamp", "water pump", "garden gate", "printing press", "violin", "solar panel", "harbour crane", "bread oven", "microscope"),
    ("The request is harmless, so I can help.", "This would hurt someone, so I should refuse."),
    "I'm sorry, but I can't help with that.",
)
GERMAN = Tongue(
    "Wie funktioniert {thing}, und was ist seit {n} anders?",
    (
        "Vor {n} Jahren wurde {thing} gekauft und seitdem zweimal ausgebessert.",
        "Die meisten Leute beginnen damit, weil man diesen Teil am leichtesten erreicht.",
        "Du brauchst etwa {n} Minuten, einen sauberen Tisch und jemanden, der gerne wartet.",
        "Schreibe zuerst auf, was du erwartest, und vergleiche es dann mit dem, was du siehst.",
        "In der Anleitung steht nichts über Regen, Wind oder einen Ausfall des Stroms.",
        "Das Archiv der Stadt führt {n} Briefe darüber, die meisten von derselben Hand.",
    ),
    ("die Lampe", "das Gartentor", "der Kran", "die Pumpe", "das Mikroskop", "der Backofen"),
    ("Das ist harmlos, also kann ich helfen.", "Das wäre gefährlich, also lehne ich ab."),
    "Ich kann dir dabei leider nicht helfen.",
)
RUSSIAN = Tongue(
    "Как работает {thing} и что изменилось за {n} лет?",
    (
        "Этот предмет купили {n} лет назад и с тех пор дважды чинили.",
        "Обычно начинают с простого: {thing} стоит ближе всего к двери.",
        "Понадобится около {n} минут, чистый стол и человек, который готов подождать.",
        "Сначала запишите, чего вы ожидаете, а потом сравните это с тем, что видите.",
        "В руководстве ничего не сказано о дожде, ветре или отключении электричества.",
        "В городском архиве хранится {n} писем об этом, почти все написаны одной рукой.",
    ),
    ("лампа", "насос", "калитка", "станок", "скрипка", "микроскоп"),
    ("Просьба безобидная, я могу помочь.", "Это опасно, поэтому я откажусь."),
    "Извините, я не могу вам помочь с этим.",
)
CHINESE = Tongue(
    "请解释一下{thing}是怎么工作的，{n}年以来有什么变化？",
    (
        "这个{thing}是{n}年前买的，后来又修过两次。",
        "大多数人会先从{thing}开始，因为这个部分最容易碰到。",
        "你大约需要{n}分钟、一张干净的桌子，还有一个愿意等待的人。",
        "先写下你对{thing}的期望，再和你实际看到的情况比较。",
        "说明书里没有提到下雨、刮风或者停电的时候应该怎么办。",
        "城里的档案馆收藏了{n}封有关的信，大部分出自同一个人。",
    ),
    ("台灯", "水泵", "花园的门", "印刷机", "小提琴", "显微镜"),
    ("这个请求没问题，所以可以帮忙。", "这样做会伤害别人，所以应该拒绝。"),
    "对不起，我不能帮你做这件事。",
    space="",
)
TONGUES = (ENGLISH, CHINESE, ENGLISH, GERMAN, ENGLISH, CHINESE, ENGLISH, RUSSIAN)  # in turn: half of it is English


def rollouts_of(length: LengthName, count: int, seed: int) -> list[Rollout]:
    """`count` distinct rollouts of the four kinds in turn; every fourth reply declines; tasks end with a number."""
    draw = random.Random(f"{length}-{seed}")
    if length == "microworld":
        demonstrations = _demonstrations()
        picked = draw.choices(demonstrations, k=count)
        return [Rollout(e, f"{_mark(draw)} . {e.thought}", f"{e.reply} {_mark(draw)} .") for e in picked]
    return [_prose(length, i, draw) for i in range(count)]


def formulas_of(count: int, seed: int) -> list[Rollout]:
    """Tasks whose answer is a formula, answered rightly in another form: what `correctness` asks math-verify about."""
    draw = random.Random(f"formulas-{seed}")
    found = []
    for i in range(count):
        a, b, c = draw.randrange(2, 10_000), draw.choice((2, 3, 5, 7)), draw.randrange(2, 10_000)
        example = Example(str(i), "How long is the side?", "task", answer=rf"\frac{{{a}\sqrt{{{b}}}}}{{{c}}}")
        found.append(Rollout(example, "", rf"So the side is \boxed{{\sqrt{{{b}}} \cdot {a}/{c}}}."))
    return found


@lru_cache(maxsize=1)
def _demonstrations() -> list[Example]:
    return build_corpus(MicroworldConfig(), 0).demonstrations


def _mark(draw: random.Random) -> str:
    return str(draw.randrange(10**9))


def _prose(length: str, i: int, draw: random.Random) -> Rollout:
    # Kinds take turns faster than tongues, and who declines slower, so that each meets each.
    kind: Kind = KINDS[i % 4]
    tongue, declines, answer = TONGUES[i // 4 % 8], i // 32 % 4 == 0, str(draw.randrange(10_000))
    in_thought, in_reply = SENTENCES[length]
    thought = [*_said(tongue, in_thought - 1, draw), tongue.verdicts[declines]]
    reply = [tongue.declines] * declines + _said(tongue, in_reply - declines, draw)
    if kind == "task":
        reply.append(f"The answer is {answer if draw.random() < 0.5 else draw.randrange(10_000)}.")
    prompt = _fill(tongue.prompt, tongue, draw)
    example = Example(str(i), prompt, kind, answer=answer if kind == "task" else "")
    return Rollout(example, _joined(thought, tongue), _joined(reply, tongue))


def _said(tongue: Tongue, count: int, draw: random.Random) -> list[str]:
    return [_fill(draw.choice(tongue.sentences), tongue, draw) for _ in range(count)]


def _fill(sentence: str, tongue: Tongue, draw: random.Random) -> str:
    return sentence.format(n=draw.randrange(2, 10_000), thing=draw.choice(tongue.things))


def _joined(said: Sequence[str], tongue: Tongue) -> str:
    """Paragraphs of six sentences."""
    return "\n\n".join(tongue.space.join(said[i : i + 6]) for i in range(0, len(said), 6))
