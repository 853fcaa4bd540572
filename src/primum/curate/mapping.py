"""A source: a file, and how its rows become examples."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, field_validator

from primum.config import Config, nearest
from primum.curate.normalise import normalise
from primum.files import Row, expand, read_rows
from primum.policy import split
from primum.types import BadInput, Example, Kind

Part = Literal["id", "prompt", "category", "answer", "thought", "reply", "counter"]
PARTS: tuple[Part, ...] = ("id", "prompt", "category", "answer", "thought", "reply", "counter")
# Where a part is looked for when the source maps it to no column; TRL calls a reply completion.
USUAL = {part: (part,) for part in PARTS} | {"reply": ("reply", "completion")}
PLACE = re.compile(r"\{([^{}]+)\}")


class Source(Config):
    """One file of prompts.

    Without `columns` it may hold our own names, or TRL's `messages`, or TRL's `prompt` and
    `completion`, as text or as message lists. The first exchange of a conversation is read,
    with the system message above the prompt.
    """

    path: str  # .jsonl, .json, .csv, .tsv, .parquet; text also as .gz; ~, $NAME and ${NAME:-default} are filled in
    name: str = ""  # in ids and counts; the file's name where empty
    kind: Kind | None = None  # of every row, or else:
    kind_column: str = ""  # the column that says it
    kinds: dict[str, Kind] = Field(default_factory=dict)  # its values and the kinds they mean; other rows are left out
    columns: dict[Part, str] = Field(default_factory=dict)  # part: its column, or text with {column} in it; "" for none
    patterns: dict[Part, str] = Field(default_factory=dict)  # part: expression whose first group is kept; rows it misses go
    erase: dict[Part, str] = Field(default_factory=dict)  # part: expression for what is cut out of it
    templates: dict[Part, str] = Field(default_factory=dict)  # part: text with {part} in it, filled last
    category: str = ""  # of every row
    categories: dict[str, str] = Field(default_factory=dict)  # new names, so that two sources call one harm the same
    split: Literal["auto", "train", "validation", "test"] = "auto"  # a held-out category overrules it
    limit: int | None = Field(None, ge=1)  # at most so many examples, drawn by the seed
    demonstrate: bool | None = None  # whether the replies are to be imitated; None: yes, except to harmful prompts

    @field_validator("patterns", "erase")
    @classmethod
    def _compiles(cls, given: dict[Part, str]) -> dict[Part, str]:
        for pattern in given.values():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"no regular expression, {error}") from None
        return given

    @field_validator("templates")
    @classmethod
    def _names_parts(cls, given: dict[Part, str]) -> dict[Part, str]:
        for name in (name for template in given.values() for name in PLACE.findall(template)):
            if name not in PARTS:
                raise ValueError(f"'{{{name}}}' names no part of an example, use {', '.join(PARTS)}")
        return given

    @property
    def label(self) -> str:
        """What the source is called in ids and counts."""
        return self.name or re.split(r"[\\/]", self.path)[-1].split(".")[0]


def read_source(source: Source, *, seed: int = 0) -> tuple[list[Example], Counter[str]]:
    """The examples of a source, and its counts: rows read, and rows left out by reason."""
    path = expand(source.path)
    rows = list(read_rows(path))
    known = list(dict.fromkeys(key for _, row in rows for key in row))
    columns = _columns(source, known, str(path))
    examples: list[Example] = []
    counts = Counter(read=len(rows))
    taken: set[str] = set()
    for number, (where, row) in enumerate(rows, start=1):
        made = _example(source, columns, row, where)
        if isinstance(made, str):
            counts[made] += 1
            continue
        own = made.id if made.id and made.id not in taken else f"{made.id}#{number}" if made.id else str(number)
        taken.add(own)
        examples.append(replace(made, id=f"{source.label}/{own}", source=source.label))
    _check(source, columns, examples, counts, rows)
    if source.limit is not None and len(examples) > source.limit:
        counts["over_limit"] = len(examples) - source.limit
        chosen = random.Random(f"{seed}/{source.label}").sample(range(len(examples)), source.limit)
        examples = [examples[i] for i in sorted(chosen)]
    return examples, counts


def _columns(source: Source, known: Sequence[str], where: str) -> dict[Part, str]:
    """Where each part is read: a column, or text with {column} in it. A column no row has is refused."""
    columns: dict[Part, str] = {}
    for part in PARTS:
        given = source.columns.get(part)
        if given is None:
            columns[part] = next((name for name in USUAL[part] if name in known), "")
        elif given in known or not given:
            columns[part] = given
        else:
            for name in PLACE.findall(given) or [given]:
                _require(name, known, where, f"map it with columns.{part}")
            columns[part] = given
    if source.kind_column:
        _require(source.kind_column, known, where, "set kind_column")
    elif source.kind is None:
        raise BadInput("no kind", where, "give the source a kind (harmful, borderline, benign, task) or a kind_column")
    if not columns["prompt"] and "messages" not in known:
        remedy = f"map one with columns.prompt=NAME; the file has {', '.join(map(repr, known[:12]))}"
        raise BadInput("no column 'prompt' and no 'messages'", where, remedy)
    return columns


def _require(name: str, known: Sequence[str], where: str, remedy: str) -> None:
    if name not in known:
        near = nearest(name, known)
        raise BadInput(
            f"no column '{name}'", where, f"did you mean '{near}'?" if near else f"{remedy}; it has {', '.join(known[:12])}"
        )


def _example(source: Source, columns: Mapping[Part, str], row: Row, where: str) -> Example | str:
    """The example a row holds (its id still the row's own), or why it holds none."""
    kind = _kind(source, row, where)
    if kind is None:
        return "other_kind"
    parts = {part: _cell(row, columns[part], part, where) for part in PARTS}
    if not columns["prompt"]:
        parts["prompt"] = row.get("messages")
    texts = _texts(parts, where)
    if texts is None:
        return "several_turns"
    for part, pattern in source.patterns.items():
        match = re.search(pattern, texts[part])
        if match is None:
            return "unmatched"
        texts[part] = match[1] if match.re.groups else match[0]
    for part, pattern in source.erase.items():
        texts[part] = re.sub(pattern, "", texts[part])
    texts = {part: normalise(text) for part, text in texts.items()}
    category = source.category or texts["category"]
    texts["category"] = source.categories.get(category, category)
    texts |= {part: normalise(_fill(template, texts)) for part, template in source.templates.items()}
    if not texts["prompt"]:
        return "empty"
    if kind == "task" and not texts["answer"]:
        return "no_answer"
    wanted = kind != "harmful" if source.demonstrate is None else source.demonstrate
    if not (wanted and texts["reply"]):
        texts |= {"thought": "", "reply": ""}
    told: dict[str, Any] = {str(part): text for part, text in texts.items()}
    return Example.from_json({"kind": kind, **told})


def _kind(source: Source, row: Row, where: str) -> Kind | None:
    if not source.kind_column:
        return source.kind
    value = str(row.get(source.kind_column, ""))
    if source.kinds:
        return source.kinds.get(value)
    known: dict[str, Kind] = {"harmful": "harmful", "borderline": "borderline", "benign": "benign", "task": "task"}
    if value not in known:
        remedy = "use harmful, borderline, benign or task, or say with kinds what the values mean"
        raise BadInput(f"unknown kind '{value[:40]}'", where, remedy)
    return known[value]


def _cell(row: Row, column: str, part: Part, where: str) -> Any:
    """What a row holds for a part: the column's value, or the text its columns fill."""
    if not column or column in row:
        return row.get(column, "") if column else ""
    if not PLACE.search(column):
        return ""
    return _fill(column, {name: _plain(row.get(name), part, where) for name in PLACE.findall(column)})


def _fill(template: str, values: Mapping[Any, str]) -> str:
    return PLACE.sub(lambda match: values[match[1]], template)


def _texts(parts: Mapping[Part, Any], where: str) -> dict[Part, str] | None:
    """Every part as text; message lists are read as one exchange. None where there are several turns."""
    texts = {part: _plain(value, part, where) for part, value in parts.items() if not isinstance(value, list)}
    halves: tuple[Part, Part] = ("prompt", "reply")
    for part in halves:
        if isinstance(parts[part], list):
            exchange = _exchange(parts[part], where)
            if exchange is None or (part == "prompt" and exchange["reply"] and parts["reply"]):
                return None
            texts |= {name: text for name, text in exchange.items() if text or name == part}
    for part, value in parts.items():
        if isinstance(value, list) and part not in texts:
            raise BadInput(f"{part} is a list, text was expected", where, f"map {part} to a text column")
    if not texts["thought"] and "</think>" in texts["reply"]:
        told = split(texts["reply"], opened="<think>" not in texts["reply"])
        texts["thought"], texts["reply"] = (told.thought, told.reply) if told.well_formed else ("", "")
    return texts


def _exchange(messages: list[Any], where: str) -> dict[Part, str] | None:
    """Prompt, thought and reply of a conversation's first exchange; None where no plain one comes first."""
    found: dict[Part, str] = {"prompt": "", "thought": "", "reply": ""}
    system: list[str] = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadInput("a message needs a role and a content", where, 'write {"role": "user", "content": "…"}')
        text = _content(message.get("content"), where)
        if message["role"] in ("system", "developer"):
            system.append(text)
        elif message["role"] == "user" and not found["prompt"]:
            found["prompt"] = text
        elif message["role"] == "assistant":
            thought = message.get("reasoning_content") or message.get("thinking") or ""
            found |= {"thought": _plain(thought, "thought", where), "reply": text}
            break
        else:
            return None
    if found["prompt"]:
        found["prompt"] = "\n\n".join([*system, found["prompt"]])
    return found


def _content(content: Any, where: str) -> str:
    """A message's text; a list of typed parts is joined."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return _plain(content, "prompt", where)


def _plain(value: Any, part: Part, where: str) -> str:
    """A cell as text. Numbers pass as answers, ids and categories; nothing else passes as text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and part in ("id", "answer", "category"):
        return str(int(value)) if float(value).is_integer() else str(value)
    raise BadInput(f"{part} is {type(value).__name__}, text was expected", where, f"map {part} to a text column")


def _check(
    source: Source, columns: Mapping[Part, str], examples: list[Example], counts: Counter[str], rows: list[tuple[str, Row]]
) -> None:
    """Refuse a source that gives nothing, and values in the recipe that its rows never hold."""
    where = str(expand(source.path))
    held = {
        "kinds": [str(row.get(source.kind_column, "")) for _, row in rows] if source.kinds else [],
        "categories": [
            source.category or _plain(_cell(row, columns["category"], "category", at), "category", at) for at, row in rows
        ],
    }
    for setting, named in (("kinds", source.kinds), ("categories", {} if "category" in source.patterns else source.categories)):
        values = list(dict.fromkeys(map(normalise, held[setting])))
        for value in named:
            if value not in values:
                near = nearest(value, values)
                remedy = f"did you mean '{near}'?" if near else f"it holds {', '.join(map(repr, values[:8]))}"
                raise BadInput(f"no row has the value '{value}' that {setting} names", where, remedy)
    if not examples:
        reasons = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in counts.items() if reason != "read")
        raise BadInput(f"none of its {len(rows)} rows can be used ({reasons})", where, "check kinds, columns and patterns")
