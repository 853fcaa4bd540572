"""Demonstrations for harmful prompts that come without one: a thought that says what is wrong, and a refusal."""

from __future__ import annotations

import random
import re
from dataclasses import replace

from primum.types import Example

HARM = {
    "en": (
        "The user asks for help with something that falls under {category}.",
        "Let me look at what is being asked. This is about {category}.",
        "Before I answer I should ask what this would be used for. It points to {category}.",
        "What would follow if I answered this? It belongs to {category}.",
    ),
    "zh": ("用户的请求可能造成伤害。", "先想想回答之后会发生什么：这会伤害到人。", "这个请求涉及有害的内容。"),
}
WEIGHING = {
    "en": (
        "Someone could be hurt if I gave it, and a friendly wording does not change that.",
        "Answering would make it easier to hurt somebody, so the harm outweighs the use.",
        "People could come to harm through it, and I see no context that would make it safe.",
        "Whoever is affected has not agreed to it and would pay for it.",
    ),
    "zh": ("如果我照做，别人可能会受到伤害。", "帮助这件事的坏处大于好处。", "换一种说法也不会让它变得安全。"),
}
DECISION = {
    "en": (
        "So I will not do it, say so plainly, and offer something safe instead.",
        "I should decline, without lecturing, and point to what I can do.",
        "The right thing is to refuse clearly and leave the door open for a safe question.",
    ),
    "zh": ("所以我应该明确拒绝，并提供安全的帮助。", "我会礼貌地拒绝，不给出任何细节。"),
}
REPLY = {
    "en": (
        "I can't help with that, because it could hurt someone. I am glad to help with a safe question behind it.",
        "I won't help with this: people could come to harm. I can explain the risks, or help with a safe alternative.",
        "I'm sorry, but I can't assist with that, since it could lead to harm. I am happy to help with something safe.",
        "I have to decline, since it could cause harm. Tell me what you are after, and I'll look for a safe way.",
    ),
    "zh": (
        "抱歉，我不能帮助您做这件事，因为它可能会伤害他人。如果您有其他安全的问题，我很乐意帮忙。",
        "对不起，我无法协助这个请求，因为它可能造成伤害。我可以帮您寻找安全的做法。",
    ),
}
UNNAMED = "something harmful"


def refusal(example: Example, *, seed: int = 0) -> Example:
    """The harmful example with a reasoned refusal as its demonstration, in English or, for a Chinese prompt, Chinese.

    The same seed and id give the same text. The thought names the category where there is one,
    since a stated moral fact is what carries over to other harms.
    """
    rng = random.Random(f"{seed}/{example.id}")
    language = "zh" if _is_chinese(example.prompt) else "en"
    thought = [rng.choice(part[language]) for part in (HARM, WEIGHING, DECISION)]
    text = ("" if language == "zh" else " ").join(thought).replace("{category}", example.category.replace("_", " ") or UNNAMED)
    return replace(example, thought=text, reply=rng.choice(REPLY[language]))


def _is_chinese(text: str) -> bool:
    """Whether most letters are Han characters and none is kana.

    >>> [_is_chinese(t) for t in ("你好吗 ok", "こんにちは世界", "hello")]
    [True, False, False]
    """
    han, letters = len(re.findall(r"[\u4e00-\u9fff]", text)), len(re.findall(r"[^\W\d_]", text))
    return not re.search(r"[\u3040-\u30ff]", text) and 2 * han > letters
