"""Between Inspect's messages and outputs and our examples and rollouts, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    Content,
    ContentReasoning,
    ContentText,
    ModelOutput,
    ModelUsage,
    StopReason,
)

from primum.evaluate.remote_answer import FILTERED, Answer, Manner
from primum.policy.template import CLOSE, OPEN
from primum.types import BadInput, Example, Rollout

OURS = "primum"  # the key of what only our own provider reads or writes
_ROLES = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
_ENDS = frozenset({"stop", "max_tokens", "model_length", FILTERED})  # of an answer; nobody can tell whether another is whole


def messages_of(example: Example, sibling: int, *, begun: bool) -> list[ChatMessage]:
    """What was said and the prompt; `begun` adds a begun thought or reply as the assistant's, to be continued.

    Our own provider reads what it needs from the last message's metadata: id, sibling and begun words.
    """
    said: list[ChatMessage] = [_ROLES[role](content=text) for role, text in example.turns]
    ours = {"id": example.id, "sibling": sibling, **({"prefill": example.prefill} if example.prefill else {})}
    said.append(ChatMessageUser(content=example.prompt, metadata={OURS: ours}))
    if example.prefill and begun:
        said.append(ChatMessageAssistant(content=f"{OPEN}\n{example.prefill.strip()}"))
    return said


def example_of(said: Sequence[ChatMessage]) -> tuple[Example, int]:
    """The prompt that messages end in, as our policy is asked it, and the number of the sibling.

    Of earlier turns only the replies are shown, as R1's own template does. An assistant's message at the end begins the reply.
    """
    said, prefill = list(said), ""
    if said and said[-1].role == "assistant":
        thought, reply = _halves(said.pop())
        prefill = f"{thought}\n{CLOSE}\n\n{reply}".strip()
    if not said or said[-1].role != "user":
        raise BadInput(
            "a conversation without a user's message at its end", "primum/…", "end it in the user's or the assistant's words"
        )
    ours = (said[-1].metadata or {}).get(OURS, {})
    turns = tuple((m.role, m.text) for m in said[:-1])
    name = ours.get("id") or sha256(repr((turns, said[-1].text)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    example = Example(name, said[-1].text, "benign", prefill=ours.get("prefill", prefill), turns=turns)
    return example, int(ours.get("sibling", 0))


def output_of(rollout: Rollout, model: str, *, limit_tokens: int = 0, seconds: float | None = None) -> ModelOutput:
    """A rollout as Inspect's: the thought as reasoning, the reply as text, and why it ended."""
    content: list[Content] = [ContentReasoning(reasoning=rollout.thought)] if rollout.thought else []
    content.append(ContentText(text=rollout.reply))
    known = {name: getattr(rollout, name) for name in ("well_formed", "thought_tokens", "reply_tokens")}
    written = len(rollout.completion_ids) or rollout.thought_tokens + rollout.reply_tokens
    full = rollout.truncated and 0 < len(rollout.completion_ids) < limit_tokens
    why: StopReason = "model_length" if full else "max_tokens" if rollout.truncated else "stop"
    usage = ModelUsage(
        input_tokens=len(rollout.prompt_ids), output_tokens=written, total_tokens=len(rollout.prompt_ids) + written,
        reasoning_tokens=rollout.thought_tokens,
    )  # fmt: skip
    message = ChatMessageAssistant(content=content, model=model, source="generate")
    choice = ChatCompletionChoice(message=message, stop_reason=why)
    return ModelOutput(model=model, choices=[choice], usage=usage, time=seconds, metadata={OURS: known})


def rollout_of(example: Example, output: ModelOutput, opens: bool | None) -> Rollout | None:
    """Any provider's output as a rollout; None where there is no answer, or none of which anybody can tell how it ended.

    `opens` says whether an answer in line begins inside a thought, None that a tag in it will tell (see `Manner`).
    """
    if output.error or output.empty:
        return None
    thought, reply = _halves(output.message)
    truncated = output.stop_reason != "stop"
    if (known := (output.metadata or {}).get(OURS)) is not None:
        return Rollout(example, thought, reply, truncated=truncated, **known)
    if output.stop_reason not in _ENDS or (output.stop_reason == FILTERED and not (thought + reply).strip()):
        return None
    usage = output.usage or ModelUsage()
    found = Answer(reply, thought, output.stop_reason, usage.output_tokens, usage.reasoning_tokens or 0)
    manner = Manner(opens)
    manner.see(found)
    return manner.rollout(example, found)


def _halves(message: Any) -> tuple[str, str]:
    """What a message shows apart, and its text; of a thought that the provider hides, its summary."""
    if isinstance(message.content, str):
        return "", message.content
    apart = [(c.summary or "") if c.redacted else c.reasoning for c in message.content if isinstance(c, ContentReasoning)]
    return "\n".join(apart), "".join(c.text for c in message.content if isinstance(c, ContentText))
