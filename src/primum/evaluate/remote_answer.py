"""What a chat server answers, as it came, and how a rollout is read from it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from primum.policy.template import CLOSE, OPEN, begins_in_thought, split
from primum.signals.endpoint_http import Trouble, complaint
from primum.types import Example, Rollout

FILTERED = "content_filter"
_MARK = r"<[|｜][^<>]{1,40}[|｜]>"  # as chat templates and tokenizers write their special tokens
_WHOLE = frozenset({"stop", "eos", "eos_token", "stop_sequence", "end_turn"})
_CUT = frozenset({"length", "max_tokens", "model_length", FILTERED})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said, with nothing read into it yet; tokens are 0 where it did not count them."""

    content: str
    reasoning: str  # what it showed apart, as `reasoning` or `reasoning_content`
    finish: str
    tokens: int = 0  # of the whole completion
    reasoning_tokens: int = 0

    @property
    def cut(self) -> bool:
        """Whether something other than the model ended it."""
        return self.finish in _CUT


def answer(body: Any) -> Answer:
    """The first choice of a chat completion; Trouble where there is none, or where nobody can tell how it ended.

    Text that a content filter cut is an answer; a filter that left no text is no answer, and so is `null`
    for a text. An empty text is one: the model ended at once.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
    except (KeyError, IndexError, TypeError):
        raise Trouble("no choices", again=True, instead=complaint(body)) from None
    if not isinstance(message, dict):
        raise Trouble("no message", again=True)
    finish = str(choice.get("finish_reason"))
    texts, apart = _parts(message)
    if not texts and isinstance(message.get("refusal"), str):  # words of the model, not of a filter
        texts = [message["refusal"]]
    if finish == FILTERED and not "".join([*texts, *apart]).strip():
        raise Trouble("content filter", again=False)
    if finish not in _WHOLE | _CUT:
        raise Trouble(f"finish_reason {finish[:20]}", again=finish not in ("tool_calls", "function_call"))
    if finish in _WHOLE and not texts and not apart:
        raise Trouble("no text", again=True)
    return Answer("".join(texts), "".join(apart), finish, *_usage(body))


class Manner:
    """How a server shows thoughts, learnt from all of its answers: apart, or in line after a prompt that opened one.

    An answer that was cut off inside its thought does not show by itself whether it is thought or reply.
    `opens` is told by the user, or None: then most of the answers with a tag decide.
    """

    def __init__(self, opens: bool | None) -> None:
        self._opens, self.apart = opens, False
        self._opened = self._unopened = self._bare = 0
        self._counted = self._thinks = False

    def see(self, found: Answer) -> None:
        text = found.content.lstrip()
        self.apart |= bool(found.reasoning.strip())
        self._counted |= found.reasoning_tokens > 0
        self._thinks |= self.apart or OPEN in text or CLOSE in text
        if text.startswith(OPEN):
            self._unopened += 1
        elif CLOSE in text and OPEN not in text.partition(CLOSE)[0]:
            self._opened += 1
        elif CLOSE not in text and found.cut and not found.reasoning:
            self._bare += 1

    @property
    def opened(self) -> bool:
        """Whether an answer in line begins inside a thought."""
        return self._opened > self._unopened if self._opens is None else self._opens

    @property
    def bare(self) -> int:
        """Cut-off answers of which nothing tells whether they are thought or reply."""
        known = self._opens is not None or self.apart or self._opened or self._unopened
        return 0 if known else self._bare

    def rollout(self, example: Example, found: Answer) -> Rollout:
        """A rollout as the same words from a local policy would give it, but for token ids and log-probabilities."""
        found = replace(found, content=_said(found.content, example), reasoning=_said(found.reasoning, example))
        text, opened = self._text(found, example)
        halves = split(text, opened=opened)
        thought, reply = _tokens(found, text, self._counted, self._thinks or opened)
        return Rollout(
            example, halves.thought, halves.reply, truncated=found.cut, well_formed=halves.well_formed,
            thought_tokens=thought, reply_tokens=reply,
        )  # fmt: skip

    def _text(self, found: Answer, example: Example) -> tuple[str, bool]:
        """The completion as the model wrote it, and whether it begins inside a thought."""
        content = found.content
        if CLOSE in example.prefill:
            return content or found.reasoning, False  # some parsers take whatever follows a prompt for thought
        if found.reasoning.strip():
            if split(content, opened=False).thought == found.reasoning.strip():  # some servers show it twice
                return content, False
            # Whoever shows a thought apart has ended it; the same tag within it was no end.
            return found.reasoning.replace(CLOSE, " ") + CLOSE + content, True
        never_closed = self._opens is True and found.cut and CLOSE not in content
        if self.apart and not content.lstrip().startswith(OPEN) and not never_closed:
            return CLOSE + content, True  # the thought was empty
        return content, begins_in_thought(example, self.opened)


def _said(text: str, example: Example) -> str:
    """The model's own words: without the special tokens that some servers leave at the end, and nothing where the text is the
    prompt as the chat template writes it, which some parsers answer where a thought never ended.

    >>> ask = Example("1", "Tea?", "benign")
    >>> [_said(text, ask) for text in ("Yes.<|im_end|>", "<｜User｜>Tea?<｜Assistant｜>", "Tea?")]
    ['Yes.', '', 'Tea?']
    """
    if re.match(rf"\s*{_MARK}", text) and re.sub(_MARK, "", text).strip() == example.prompt.strip():
        return ""
    while (mark := re.search(rf"{_MARK}\s*$", text[-60:])) is not None:
        text = text[: -len(mark.group())].rstrip()
    return text


def _parts(message: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The texts of a message and what it shows apart; no text at all is an empty list, an empty one is [""]."""
    content = message.get("content")
    texts, apart = ([content] if isinstance(content, str) else []), []
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict) and part.get("type") == "thinking":
            inner = part.get("thinking")
            apart += [inner] if isinstance(inner, str) else [str(p.get("text", "")) for p in inner or [] if isinstance(p, dict)]
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
    shown = [message.get(name) for name in ("reasoning", "reasoning_content")]
    said = [text for text in shown if isinstance(text, str)]
    return texts, [next((text for text in said if text), *said[:1])] if said else apart


def _usage(body: Any) -> tuple[int, int]:
    """Tokens of the completion and of its thought, 0 where they were not counted."""
    usage = body.get("usage") if isinstance(body, dict) else None
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("completion_tokens_details")
    details = details if isinstance(details, dict) else {}
    counts = (usage.get("completion_tokens"), details.get("reasoning_tokens", usage.get("reasoning_tokens")))
    whole, thought = (n if isinstance(n, int) and n > 0 else 0 for n in counts)
    return whole, min(thought, whole)


def _tokens(found: Answer, text: str, apart: bool, thinks: bool) -> tuple[int, int]:
    """Tokens of thought and reply without the closing tag and the end mark, as a local policy counts them.

    0 and 0, which is unscored, from a server that does not count thoughts apart, unless its model has none: the
    few answers with one half alone, most of them cut off, would stand for all.
    """
    closed = CLOSE in text and found.tokens > found.reasoning_tokens
    said = max(0, found.tokens - closed - (not found.cut))
    if not apart:
        return (0, 0) if thinks else (0, said)
    thought = min(found.reasoning_tokens, said)
    return thought, said - thought
