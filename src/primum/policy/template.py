"""Between text and tokens: the chat template, the demonstration, and the one splitter of thought and reply."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from primum.policy.model import Policy
from primum.types import BadInput, Example

OPEN, CLOSE = "<think>", "</think>"
_TAG = re.compile(r"</?think>")


@dataclass(frozen=True, slots=True)
class Split:
    """A completion's two halves, without the tags around them."""

    thought: str
    reply: str
    well_formed: bool


def split(text: str, *, opened: bool = True) -> Split:
    """The thought and the reply of a completion; `opened` says that the prompt already opened `<think>`.

    The thought ends at the first `</think>`, or at the last of several that follow each other
    with nothing but another thought in between. Left open, it is all thought. Whatever else
    carries a tag is reply, since that is what a person sees, and loses the tag. Words before a
    late `<think>` are reply. An opening tag mentioned inside a thought is part of it.
    Well formed: closed once, not opened again, and a reply follows; or no tag where none was
    opened.

    >>> split("it is a stone </think> I break it .")
    Split(thought='it is a stone', reply='I break it .', well_formed=True)
    >>> split("it is a stone and")
    Split(thought='it is a stone and', reply='', well_formed=False)
    >>> split("yes .", opened=False)
    Split(thought='', reply='yes .', well_formed=True)
    """
    before, begin, start, end = _thought_span(text, opened)
    thought, rest = text[begin:start], text[end:]
    again = OPEN in rest or CLOSE in rest or text[begin:end].count(CLOSE) > 1 or thought.lstrip().startswith(OPEN)
    stray = bool(before) or (begin == 0 and not opened and end > 0)
    reply = " ".join(part for part in (before, re.sub(r"\s*</?think>\s*", " ", rest).strip()) if part)
    closed = end > start or (not opened and begin == start == end == 0)
    return Split(_without_tags_around(thought), reply, closed and not again and not stray and bool(reply))


def begun_reply(example: Example) -> str:
    """What the prefill has put into the policy's mouth: its words after the thought's end.

    >>> begun_reply(Example("1", "Tea?", "benign", prefill="easy </think> Sure, tea"))
    'Sure, tea'
    """
    return example.prefill.partition(CLOSE)[2].strip()


def begins_in_thought(example: Example, opened: bool) -> bool:
    """Whether the policy's own first word is thought; `opened` says that the chat template opens one."""
    return CLOSE not in example.prefill and (opened or bool(example.prefill))


def thought_ends(text: str, *, opened: bool = True) -> tuple[int, int]:
    """Where the thought stops and where the reply starts, in characters; equal where no tag closes it."""
    _, _, start, end = _thought_span(text, opened)
    return start, end


def opens_thought(tokenizer: Any) -> bool:
    """Whether the generation prompt of the chat template ends inside an open `<think>`."""
    return render(tokenizer, "x").rstrip().endswith(OPEN)


def render(tokenizer: Any, prompt: str, turns: Sequence[tuple[str, str]] = ()) -> str:
    """The prompt, after what was said before it, as the model reads it, up to where its own words begin."""
    try:
        said = [{"role": role, "content": text} for role, text in (*turns, ("user", prompt))]
        return tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False)
    except (ValueError, TypeError) as error:
        raise BadInput(f"the chat template fails, {error}", "chat_template", "mend it, or start from a chat model") from None


def prompt_ids(policy: Policy, example: Example) -> list[int]:
    """The tokens of an example's prompt, through the chat template and with its prefill, ready to be continued."""
    text = render(policy.tokenizer, example.prompt, example.turns)
    if example.prefill:
        opened = text.rstrip().endswith(OPEN)
        lead = ("" if text.endswith("\n") else "\n") if opened else f"{OPEN}\n"
        text += lead + example.prefill.strip()
    return policy.tokenizer(text, add_special_tokens=False)["input_ids"]


def completion_ids(policy: Policy, example: Example) -> list[int]:
    """The tokens of an example's demonstration as a continuation of its prompt, end token included.

    Built here and not by the template, since stock R1 templates delete the thoughts of past
    turns. A thought is opened only where the prompt has not done so; an example without a
    thought gets an empty one where it has. After a prefill the demonstration goes on where it
    stops: with its thought, or, where the prefill has closed that, with its reply.
    """
    rendered = render(policy.tokenizer, example.prompt, example.turns)
    opened = rendered.rstrip().endswith(OPEN)
    text = example.reply.strip()
    if CLOSE in example.prefill:
        text = f" {text}"
    elif example.prefill:
        text = f" {example.thought.strip()}\n{CLOSE}\n\n{text}"
    elif opened or example.thought:
        lead = ("" if rendered.endswith("\n") else "\n") if opened else f"{OPEN}\n"
        text = f"{lead}{example.thought.strip()}\n{CLOSE}\n\n{text}"
    return [*policy.tokenizer(text, add_special_tokens=False)["input_ids"], policy.tokenizer.eos_token_id]


def _thought_span(text: str, opened: bool) -> tuple[str, int, int, int]:
    """Words before the thought; where it begins, where it stops, and where the reply starts."""
    begin, before = 0, ""
    if not opened:
        first = _TAG.search(text)
        if first is None:
            return "", 0, 0, 0
        if first.group() == OPEN:
            before, begin = text[: first.start()].strip(), first.end()
    start = text.find(CLOSE, begin)
    if start < 0:
        return before, begin, len(text), len(text)
    end = start + len(CLOSE)
    while (following := re.compile(rf"\s*(?:{OPEN}|{CLOSE})").match(text, end)) is not None:
        if following.group().endswith(CLOSE):
            end = following.end()
            continue
        start = text.find(CLOSE, following.end())
        if start < 0:
            return before, begin, len(text), len(text)
        end = start + len(CLOSE)
    return before, begin, start, end


def _without_tags_around(thought: str) -> str:
    """`thought` without the tags between several thoughts, and none at either end."""
    text = re.sub(rf"\s*{CLOSE}\s*(?:{OPEN}\s*)?", " ", thought).strip()
    while (bare := text.removeprefix(OPEN).removesuffix(OPEN).strip()) != text:
        text = bare
    return text
