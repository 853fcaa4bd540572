"""A model behind an OpenAI-compatible server, sampled as a policy is."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from primum.config import Config
from primum.evaluate.remote_answer import Answer, Manner
from primum.evaluate.remote_ask import ELSEWHERE, Ask, Asking, Patience
from primum.evaluate.remote_keep import Keep
from primum.policy.template import OPEN
from primum.signals.endpoint_http import Trouble, address, post
from primum.types import BadInput, Example, Rollout

_LOG = logging.getLogger(__name__)
_OURS = frozenset({"model", "messages", "n", "stream", "max_tokens", "max_completion_tokens"})
_OURS_OR_NONE = frozenset({"temperature", "seed"})  # some servers refuse them: null takes them away
_EXCERPT = 160  # characters shown of what a server said instead of an answer
DEFAULT_KEY = "OPENAI_API_KEY"
PREFILLED = "a begun thought cannot be sent"


class RemoteConfig(Config):
    """Which model, where, and how patiently it is asked."""

    url: str = "http://127.0.0.1:8000/v1"  # of an OpenAI-compatible server; /chat/completions is added where it is missing
    model: str = ""  # the name the server knows it by
    key_env: str = DEFAULT_KEY  # environment variable that holds the key; "" sends none, and so does this one where it is not set
    workers: int = Field(8, ge=1, le=256)  # requests under way at once
    tries: int = Field(4, ge=1)  # of a request, where another may help: timeouts, 429, 5xx, garbage
    limit_seconds: float = Field(600.0, gt=0)  # of a try, from connecting to the last byte
    backoff_seconds: float = Field(0.5, ge=0)  # before the second try; doubles each time, half of it at random
    longest_wait_seconds: float = Field(120.0, ge=0)  # between two tries, whatever the server asks
    max_unanswered: float = Field(0.1, ge=0, le=1)  # of the requests; with more than this share lost, it stops
    opens_thought: bool | None = None  # does the chat template open <think>? null: told by the answers that close one
    continue_final: bool = False  # send a begun thought as the assistant's turn to be continued, as vLLM and SGLang understand it
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    extra: dict[str, Any] = Field(default_factory=dict)  # sent along, such as chat_template_kwargs; null takes a field away

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        ours = [k for k, v in extra.items() if k in _OURS or (k in _OURS_OR_NONE and v is not None)]
        if ours:
            raise ValueError(f"'{ours[0]}' is set by the evaluation itself")
        json.dumps(extra)
        return extra


class Remote:
    """A model behind an OpenAI-compatible server, sampled as a policy is.

    `keep` is a JSONL file of answers: each is appended as it comes, and what is there is not asked for again.
    `counts` says how it went: sent (requests, further tries included), answered, kept (found in the file), unanswered, and
    "unanswered: CAUSE" by cause; each cause is logged when it is first met.
    """

    def __init__(self, config: RemoteConfig, keep: Path | None = None) -> None:
        if not config.model:
            raise BadInput("no model is named", config.url, "give the name the server knows it by")
        self.config, self._keep = config, keep
        self._to = address(config.url)
        self._key = _key(config.key_env)
        server = self._to._replace(netloc=self._to.netloc.rpartition("@")[2])
        self._server = server.geturl()
        self.name = f"{config.model} at {server._replace(query='').geturl().removesuffix('/chat/completions')}"
        self._manner = Manner(config.opens_thought)
        self.counts = Counter(dict.fromkeys(("sent", "answered", "kept", "unanswered"), 0))

    def sample(
        self,
        examples: Sequence[Example],
        *,
        samples: int = 1,
        temperature: float = 1.0,
        limit_tokens: int = 64,
        seed: int = 0,
        progress: Callable[[int], Any] | None = None,
    ) -> list[Rollout | None]:
        """`samples` rollouts of each example, siblings adjacent, in the order of `examples`; None where there was no answer.

        Temperature 0 is greedy. The seed sent depends on `seed`, the example's id and the sibling's number; whether it
        decides the draw is up to the server. Token ids and log-probabilities are not known. A server that is not there, that
        refuses the key or does not know the model, or leaves too much unanswered, is bad input.
        """
        asks = self._asks(examples, samples, temperature, limit_tokens, seed)
        number = len(examples) * samples
        if len(asks) < number and self._lost(PREFILLED, number - len(asks)):
            self._tell(PREFILLED)
        with Keep(self._keep) as keep:
            found = {ask.place: known for ask in asks if (known := keep.get(ask.key)) is not None}
            self.counts["kept"] += len(found)
            if progress is not None:
                progress(number - len(asks) + len(found))
            self._ask([ask for ask in asks if ask.place not in found], len(asks), found, keep, progress)
        examples_N = [example for example in examples for _ in range(samples)]
        for place, known in found.items():
            if not examples_N[place].prefill:  # which begins inside a thought, whatever the template does
                self._manner.see(known)
        if self._manner.bare:
            _LOG.warning("%s: %d answers were cut off and none shows a tag; where the chat template opens %s, set "
                         "endpoint.opens_thought=true", self.name, self._manner.bare, OPEN)  # fmt: skip
        return [self._manner.rollout(e, found[place]) if place in found else None for place, e in enumerate(examples_N)]

    def _asks(self, examples: Sequence[Example], samples: int, temperature: float, limit_tokens: int, seed: int) -> list[Ask]:
        """A request for each rollout that can be asked for; an example that comes twice continues its siblings' numbers."""
        seen: Counter[str] = Counter()
        asks = []
        for place, example in enumerate(e for e in examples for _ in range(samples)):
            sibling, seen[example.id] = seen[example.id], seen[example.id] + 1
            if example.prefill and not self.config.continue_final:
                continue
            draw = _seed(seed, example.id, sibling)
            sampling = {"temperature": temperature, self.config.limit_field: limit_tokens, "seed": draw}
            payload = {"model": self.config.model, **_turns(example), **sampling, **self.config.extra}
            told = [self._server, self.config.model, example.prompt, example.prefill, temperature, limit_tokens, draw, sibling,
                    self.config.extra, *([example.turns] if example.turns else [])]  # fmt: skip
            key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
            asks.append(Ask(place, example, {k: v for k, v in payload.items() if v is not None}, key))
        return asks

    def _ask(
        self, asks: list[Ask], number: int, found: dict[int, Answer], keep: Keep, progress: Callable[[int], Any] | None
    ) -> None:
        """Fill `found`; BadInput where going on is no use. `number` counts the answers kept before, too."""
        config = self.config
        send = partial(self._post, config.limit_seconds)
        patience = Patience(config.workers, config.tries, config.backoff_seconds, config.longest_wait_seconds)
        asking = Asking(asks, send, lambda ask, known: keep.put(ask.key, ask.example, known), patience)
        answered, in_a_row, lost = 0, 0, Counter[str]()
        try:
            with closing(iter(asking)) as answers:
                for ask, got in answers:
                    if isinstance(got, Answer):
                        found[ask.place] = got
                        answered, in_a_row = answered + 1, 0
                    else:
                        in_a_row += got.again
                        lost[got.kind] += 1
                        first = self._lost(got.kind, 1)
                        self._stop_if_hopeless(got, answered, in_a_row)
                        self._stop_if_too_much_is_lost(lost, number, got)
                        if first:
                            self._tell(got.kind + self._said(got))
                    if progress is not None:
                        progress(1)
        finally:
            self.counts["sent"] += asking.sent
            self.counts["answered"] += answered

    def _post(self, limit_seconds: float, payload: dict[str, Any]) -> Any:
        return post(self._to, payload, self._key, limit_seconds)

    def _stop_if_hopeless(self, trouble: Trouble, answered: int, in_a_row: int) -> None:
        status, said = trouble.kind.removeprefix("HTTP "), self._said(trouble)
        if status == "401" or (status == "403" and not answered):
            what = "the key is refused" if self._key else "a key is asked for, and none was sent"
            name = self.config.key_env or DEFAULT_KEY
            raise BadInput(f"{what}, {trouble.kind}{said}", self.name, f"put a key that may use the model into ${name} (key_env)")
        if status == "404":
            remedy = "look for its name at /models; most addresses end in /v1"
            raise BadInput(f"no such model or address, HTTP 404{said}", self.name, remedy)
        if trouble.kind.endswith(ELSEWHERE) and not answered:
            raise BadInput(f"no server there, {trouble.kind}", self.name, "start it, or correct the address")
        if in_a_row >= max(4, self.config.workers):
            what = f"{in_a_row} requests failed in a row, {trouble.kind} at last{said}"
            raise BadInput(what, self.name, f"see to the server, {self._again()}")

    def _stop_if_too_much_is_lost(self, lost: Counter[str], number: int, last: Trouble) -> None:
        if lost.total() > self.config.max_unanswered * number:
            causes = ", ".join(f"{n} × {cause}" for cause, n in lost.most_common())
            what = f"{lost.total()} of {number} requests unanswered, more than {self.config.max_unanswered:.0%} ({causes})"
            what += self._said(last)
            raise BadInput(what, self.name, f"mend the cause or raise max_unanswered, {self._again()}")

    def _again(self) -> str:
        return "then run again" if self._keep is None else "then run again: what was answered is kept"

    def _said(self, trouble: Trouble) -> str:
        """What the server said instead, without the key."""
        words = trouble.instead.replace(self._key, "…") if self._key else trouble.instead
        return f", it said {words[:_EXCERPT]!r}" if words.strip() else ""

    def _lost(self, cause: str, number: int) -> bool:
        """Count rollouts without an answer; whether they are the first of this cause."""
        self.counts.update({"unanswered": number, f"unanswered: {cause}": number})
        return self.counts[f"unanswered: {cause}"] == number

    def _tell(self, why: str) -> None:
        _LOG.warning("%s: %s; unanswered, here and wherever it happens again", self.name, why)


def _turns(example: Example) -> dict[str, Any]:
    """The conversation: what was said, the prompt, and a begun thought or reply as the assistant's, to be continued."""
    said = [{"role": role, "content": text} for role, text in (*example.turns, ("user", example.prompt))]
    if not example.prefill:
        return {"messages": said}
    begun = {"role": "assistant", "content": f"{OPEN}\n{example.prefill.strip()}"}
    return {"messages": [*said, begun], "add_generation_prompt": False, "continue_final_message": True}


def _seed(seed: int, name: str, sibling: int) -> int:
    """A 31-bit number, which every server can hold, the same in every process."""
    digest = hashlib.blake2b(f"{seed}\n{name}\n{sibling}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def _key(name: str) -> str:
    key = os.environ.get(name, "").strip() if name else ""
    if not key and name not in ("", DEFAULT_KEY):
        raise BadInput(f"${name} is empty", "key_env", "set it, or name no key")
    if not (key.isascii() and key.isprintable()):  # an HTTP header cannot hold it
        raise BadInput(f"${name} is no key, it is not one line of ASCII", "key_env", "set it anew")
    return key
