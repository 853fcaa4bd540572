"""Harm by a language model behind an OpenAI-compatible endpoint, asked the propositions of a charter."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from primum.charter import Charter, load_charter
from primum.config import Config, read_yaml, validate
from primum.signals.endpoint_cache import Cache, Verdict
from primum.signals.endpoint_http import Trouble, address, post
from primum.signals.endpoint_prompt import FORM, answers, question, said
from primum.types import BadInput, Rollout

_LOG = logging.getLogger(__name__)
_EXCERPT = 60  # characters shown of what a judge said instead of a verdict


class EndpointConfig(Config):
    """Where the judge is, and how much it may be asked."""

    url: str = "http://127.0.0.1:8000/v1"  # of an OpenAI-compatible server; /chat/completions is added where it is missing
    model: str = Field("judge", min_length=1)  # the name the server knows it by
    charter: str = ""  # a charter's YAML file; "" is the one that ships
    api_key_env: str = ""  # environment variable that holds the key; "" sends none
    half: Literal["reply", "thought", "whole"] = "reply"  # what is judged
    temperature: float = Field(0.0, ge=0, le=2)
    limit_tokens: int = Field(1024, ge=16)  # of the judge's answer, its thoughts included
    json_mode: bool = True  # ask the server to hold the answer to JSON; turn off where it refuses that
    timeout_seconds: float = Field(60.0, gt=0)  # of a request, from connecting to the last byte
    retries: int = Field(3, ge=0)  # after the first try, where another may help: timeouts, 429, 5xx
    backoff_seconds: float = Field(0.5, ge=0)  # before the first retry; doubles each time, half of it at random
    longest_wait_seconds: float = Field(30.0, ge=0)  # between two tries, whatever the server asks
    concurrency: int = Field(8, ge=1, le=256)  # requests under way at once
    budget: int = Field(100_000, ge=0)  # requests this object may send, retries included; then everything new is unscored
    give_up_after: int = Field(16, ge=0)  # failed questions in a row, after which a call asks no more; 0 never gives up
    window_characters: int = Field(24_000, ge=200)  # a longer text is read in overlapping windows, and the worst counts
    cache: str = ""  # folder of verdicts already given; "" keeps them in memory


class EndpointJudge:
    """A harm signal in [0, 1]; nan wherever the judge gave no verdict: late, down, garbled, refusing, or out of budget.

    `counts` says how it went: asked (requests sent), answered, cached, failed (questions without a verdict),
    and failed by cause; each cause is logged when it is first met. `version` names everything a verdict depends on.
    """

    def __init__(self, config: EndpointConfig, charter: Charter) -> None:
        self.config, self.charter = config, charter
        self._to = address(config.url)
        self._key = os.environ.get(config.api_key_env, "") if config.api_key_env else ""
        if config.api_key_env and not self._key:
            raise BadInput(f"${config.api_key_env} is empty", "endpoint api_key_env", "set it, or name no key")
        if not (self._key.isascii() and self._key.isprintable()):  # an HTTP header cannot hold it
            raise BadInput(f"${config.api_key_env} is no key, it is not one line of ASCII", "endpoint api_key_env", "set it anew")
        told = {"form": FORM, "charter": charter.version, "url": self._to.geturl()}
        told |= config.model_dump(include={"model", "half", "temperature", "limit_tokens", "json_mode", "window_characters"})
        self.version = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
        self._cache = Cache(Path(config.cache) / f"{self.version}.jsonl" if config.cache else None)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def server(self) -> str:
        """Its address without password and query."""
        return self._to._replace(netloc=self._to.netloc.rpartition("@")[2], query="").geturl()

    @property
    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict.fromkeys(("asked", "answered", "cached", "failed"), 0) | dict(self._counts)

    def __call__(self, rollouts: Sequence[Rollout]) -> list[float]:
        """Harm of each rollout. An empty half is 0, or unscored where it was cut off before it began."""
        texts = [_half(r, self.config.half) for r in rollouts]
        asked = {(r.example.prompt, text): math.nan for r, text in zip(rollouts, texts, strict=True) if text}
        in_a_row = _Row(self.config.give_up_after)
        with ThreadPoolExecutor(self.config.concurrency) as pool:
            pairs = list(asked)
            asked = dict(zip(pairs, pool.map(lambda pair: self._judge(pair[0], pair[1], in_a_row), pairs), strict=True))
        return [
            asked[r.example.prompt, text] if text else math.nan if r.truncated else 0.0
            for r, text in zip(rollouts, texts, strict=True)
        ]

    def _judge(self, prompt: str, text: str, in_a_row: _Row) -> float:
        """The worst window; nan where any has no verdict."""
        size = self.config.window_characters
        windows = [text[i : i + size] for i in range(0, max(1, len(text) - size // 8), size - size // 8)]
        harms = [self._window(prompt[-size // 4 :], window, in_a_row) for window in windows]
        return math.nan if any(math.isnan(h) for h in harms) else max(harms)

    def _window(self, prompt: str, text: str, in_a_row: _Row) -> float:
        key = hashlib.sha256(json.dumps([self.version, prompt, text]).encode()).hexdigest()
        verdict = self._cache.get(key)
        if verdict is not None:
            self._count("cached")
            return self.charter.harm(verdict)
        try:
            if in_a_row.over():
                raise Trouble("given up", again=False)
            verdict = self._ask(prompt, text)
        except Trouble as trouble:
            in_a_row.failed()
            self._failed(trouble)
            return math.nan
        in_a_row.went_well()
        self._count("answered")
        self._cache.put(key, verdict)
        return self.charter.harm(verdict)

    def _ask(self, prompt: str, text: str) -> Verdict:
        """A verdict, after as many tries as it may take; Trouble where there is none."""
        seal = secrets.token_hex(6)
        config = self.config
        payload: dict[str, Any] = {
            "model": config.model,
            "messages": question(self.charter, prompt, text, seal),
            "temperature": config.temperature,
            "max_tokens": config.limit_tokens,
        }
        if config.json_mode:
            payload["response_format"] = {"type": "json_object"}
        for tried in range(config.retries + 1):
            self._spend()
            try:
                body = post(self._to, payload, self._key, config.timeout_seconds)
                break
            except Trouble as trouble:
                if not trouble.again or tried == config.retries:
                    raise
                backoff = config.backoff_seconds * 2**tried * random.uniform(0.5, 1)
                time.sleep(min(config.longest_wait_seconds, max(backoff, trouble.wait_seconds)))
        found = answers(said(body), [p.key for p in self.charter.propositions], seal)
        if found is None:
            raise Trouble("no verdict", again=False, instead=said(body) or "nothing")
        return found

    def _spend(self) -> None:
        with self._lock:
            if self._counts["asked"] >= self.config.budget:
                raise Trouble("budget", again=False)
            self._counts["asked"] += 1

    def _failed(self, trouble: Trouble) -> None:
        """Count a question without a verdict; the first of each cause is told, without key and password."""
        cause = f"failed: {trouble.kind}"
        with self._lock:
            self._counts.update(("failed", cause))
            first = self._counts[cause] == 1 and trouble.kind != "given up"  # which follows from another
        if first:
            words = trouble.instead.replace(self._key, "…") if self._key else trouble.instead
            said_instead = f", it said {words[:_EXCERPT]!r}" if words else ""
            _LOG.warning("judge %s: %s%s; unscored, here and wherever it happens again", self.server, trouble.kind, said_instead)

    def _count(self, *names: str) -> None:
        with self._lock:
            self._counts.update(names)


class _Row:
    """Failures in a row within one call, counted by several threads."""

    def __init__(self, most: int) -> None:
        self._most, self._failed, self._lock = most, 0, threading.Lock()

    def over(self) -> bool:
        return bool(self._most) and self._failed >= self._most

    def failed(self) -> None:
        with self._lock:
            self._failed += 1

    def went_well(self) -> None:
        with self._lock:
            self._failed = 0 if not self.over() else self._failed


def endpoint_judge(config: EndpointConfig, charter: Charter) -> EndpointJudge:
    """A signal: harm by the judge a configuration names, under a charter; see `EndpointJudge`."""
    return EndpointJudge(config, charter)


def endpoint_file(path: str | Path) -> EndpointJudge:
    """The judge a YAML file of `EndpointConfig` names, with the charter it names; a charter's path is relative to the file."""
    file = Path(path)
    if not file.is_file():
        raise BadInput("no such endpoint file", str(file), "name a YAML file with url and model; see docs/judges.md")
    config = validate(EndpointConfig, read_yaml(file), str(file))
    return endpoint_judge(config, load_charter(file.parent / config.charter if config.charter else ""))


def _half(rollout: Rollout, half: str) -> str:
    parts = {"reply": [rollout.reply], "thought": [rollout.thought], "whole": [rollout.thought, rollout.reply]}[half]
    return "\n\n".join(part.strip() for part in parts if part.strip())
