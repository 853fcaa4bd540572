"""What people said about responses, from files: labels, ratings, pairs with ties; and which of it is held out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from primum.run import read_jsonl
from primum.types import BadInput, Rollout

Scale = Literal["label", "rating", "pair"]
Fold = Literal["train", "tune", "held out"]
OUTCOMES = {"a": 1.0, "b": 0.0, "tie": 0.5}
REMEDY = "docs/learned_reward.md has the forms of a row"


@dataclass(frozen=True, slots=True)
class Response:
    """One answer to a prompt, in its two halves."""

    thought: str
    reply: str


@dataclass(frozen=True, slots=True)
class Judged:
    """One row: a response, or two of the same prompt, and a number for each thing asked about it.

    Labels and ratings are in [0, 1]: a rating is brought there when it is read. Of a pair 1 means that the first has
    more, 0 the second, 0.5 a tie.
    """

    prompt: str
    responses: tuple[Response, ...]
    values: Mapping[str, float]
    scale: Scale = "label"

    @property
    def halves(self) -> tuple[str, str]:
        """Thought and reply of the only, or the first, response."""
        return self.responses[0].thought, self.responses[0].reply

    def to_json(self) -> dict[str, Any]:
        if self.scale == "pair":
            said = {1.0: "a", 0.0: "b", 0.5: "tie"}
            a, b = ({"thought": r.thought, "reply": r.reply} for r in self.responses)
            return {"prompt": self.prompt, "a": a, "b": b, "outcome": {k: said[v] for k, v in self.values.items()}}
        (only,) = self.responses
        halves = {"prompt": self.prompt, "thought": only.thought, "reply": only.reply}
        return {**halves, f"{self.scale}s": dict(self.values)}


def judged_from(row: Mapping[str, Any]) -> Judged:
    """The row that `Judged.to_json` gave."""
    return next(_rows(row, "", "a row"))


def judged(rollouts: Sequence[Rollout], name: str, values: Sequence[float]) -> list[Judged]:
    """Labels of rollouts as rows; nan is no label."""
    return [
        Judged(r.example.prompt, (Response(r.thought, r.reply),), {name: value})
        for r, value in zip(rollouts, values, strict=True)
        if not math.isnan(value)
    ]


def read_judged(paths: Iterable[Path], *, head: str = "preferred") -> list[Judged]:
    """The rows of JSONL files, in any of the forms; `head` names what plain chosen/rejected pairs are about.

    A row may hold several scales and then gives several. A row without anything to learn is bad input.
    """
    out: list[Judged] = []
    for path in paths:
        if not path.is_file():
            raise BadInput("no such file", str(path), "give JSONL files of labelled responses")
        for i, row in enumerate(read_jsonl(path)):
            found = list(_rows(row, head, f"{path}, row {i + 1}"))
            if not found:
                raise BadInput("a row without labels, ratings, outcome or chosen", f"{path}, row {i + 1}", REMEDY)
            out += found
    if not out:
        raise BadInput("nothing labelled", ", ".join(map(str, paths)) or "no file", REMEDY)
    return out


def fold(prompt: str, tune: float, held_out: float) -> Fold:
    """Which part a prompt is in, by its hash: the same in every version, so what is held out once always is.

    >>> fold("Is tea safe?", 0.0, 1.0), fold("Is tea safe?", 0.0, 0.0)
    ('held out', 'train')
    """
    draw = int.from_bytes(hashlib.blake2b(prompt.encode(), digest_size=8).digest(), "big") / 2**64
    return "held out" if draw < held_out else "tune" if draw < held_out + tune else "train"


def data_hash(rows: Sequence[Judged]) -> str:
    """What tells one labelled set from another, the order of its rows aside."""
    return hashlib.sha256("\n".join(sorted(map(_line, rows))).encode()).hexdigest()


def unknown(new: Sequence[Judged], old: Sequence[Judged]) -> list[Judged]:
    """The new rows that are not among the old ones, each once: a label given again tells nothing more."""
    known = set(map(_line, old))
    return [row for line, row in {_line(row): row for row in new}.items() if line not in known]


def _line(row: Judged) -> str:
    return json.dumps(row.to_json(), ensure_ascii=False, sort_keys=True)


def _rows(row: Any, head: str, where: str) -> Iterator[Judged]:
    if not isinstance(row, dict):
        raise BadInput("a row is no object", where, REMEDY)
    if "chosen" in row:
        prompt, chosen, rejected = _preference(row, where)
        values = {head: 1.0} if "outcome" not in row else _values(row["outcome"], "pair", where)
        yield Judged(prompt, (chosen, rejected), values, "pair")
        return
    if "a" in row and "b" in row:
        pair = (_response(row["a"], where), _response(row["b"], where))
        yield Judged(_text(row, "prompt", where), pair, _values(row.get("outcome"), "pair", where), "pair")
        return
    only = (_response(row, where),) if "labels" in row or "ratings" in row else ()
    scales: tuple[Scale, ...] = ("label", "rating")
    for scale in scales:
        if only and f"{scale}s" in row:
            found = _values(row[f"{scale}s"], scale, where, row.get("scale", [0, 1]) if scale == "rating" else (0, 1))
            yield Judged(_text(row, "prompt", where), only, found, scale)


def _values(found: Any, scale: Scale, where: str, ends: Any = (0, 1)) -> dict[str, float]:
    """Numbers in [0, 1] by name, from between the ends of a scale; null is missing."""
    if not isinstance(found, dict) or not found:
        raise BadInput(f"the {scale}s are no mapping from names to values", where, REMEDY)
    try:
        low, high = map(float, ends)
    except (TypeError, ValueError):
        raise BadInput(f"the scale is {ends!r}", where, "give its two ends, such as [1, 5]") from None
    out = {}
    for name, value in found.items():
        if value is None:
            continue
        number = OUTCOMES.get(value, math.nan) if scale == "pair" and isinstance(value, str) else value
        if not isinstance(number, (int, float)) or not low <= number <= high or low == high:
            wanted = "a, b or tie" if scale == "pair" else f"a number from {low:g} to {high:g}"
            raise BadInput(f"'{name}' is {value!r}, not {wanted}", where, "use null where nobody could tell")
        out[str(name)] = (number - low) / (high - low)
    return out


def _preference(row: dict[str, Any], where: str) -> tuple[str, Response, Response]:
    """TRL's forms: text or messages, the prompt apart or at the beginning of both."""
    both = [row.get("chosen"), row.get("rejected")]
    prompt = row.get("prompt")
    if all(isinstance(side, list) and side for side in both):
        said = [[_turn(turn, where) for turn in side] for side in both if side]
        before = _conversation([_turn(t, where) for t in prompt]) if isinstance(prompt, list) else str(prompt or "")
        before = before or _conversation(said[0][:-1])
        return before, Response("", said[0][-1][1]), Response("", said[1][-1][1])
    if not all(isinstance(side, str) for side in both):
        raise BadInput("chosen and rejected are neither two texts nor two lists of messages", where, REMEDY)
    chosen, rejected = map(str, both)
    if prompt is not None:
        return _text(row, "prompt", where), Response("", chosen), Response("", rejected)
    start = _common(chosen, rejected)
    return chosen[:start].strip(), Response("", chosen[start:].strip()), Response("", rejected[start:].strip())


def _common(a: str, b: str) -> int:
    """Where the answers begin in two texts that open alike: after the last "Assistant:" both have, or at a word's edge."""
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    shared = a[:same]
    mark = shared.rfind("\n\nAssistant:")
    return mark + len("\n\nAssistant:") if mark >= 0 else max(shared.rfind(" "), shared.rfind("\n")) + 1


def _turn(turn: Any, where: str) -> tuple[str, str]:
    if not isinstance(turn, dict) or not isinstance(turn.get("content"), str):
        raise BadInput("a message without content", where, "write {role, content} objects")
    return str(turn.get("role", "")), turn["content"]


def _conversation(turns: list[tuple[str, str]]) -> str:
    return turns[0][1] if len(turns) == 1 else "\n\n".join(f"{role}: {content}" for role, content in turns)


def _response(found: Any, where: str) -> Response:
    if isinstance(found, str):
        return Response("", found)
    if not isinstance(found, dict):
        raise BadInput("a response is neither text nor an object with a reply", where, REMEDY)
    return Response(str(found.get("thought") or ""), _text(found, "reply", where))


def _text(row: dict[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise BadInput(f"no text '{name}'", where, REMEDY)
    return value
