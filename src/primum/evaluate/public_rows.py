"""What a set of prompts is, and the checked rows of its files: whole, in one encoding, with the columns it was published with."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import Field

from primum.config import Config, nearest
from primum.evaluate.public_digests import PUBLISHED
from primum.files import Row, read_rows
from primum.types import BadInput, Example, Kind

Place = tuple[str, Row]  # where a row stands, and the row
PARTS = ("id", "prompt", "context", "category", "answer", "meaning")


class SetConfig(Config):
    """A published set by its name, or a file of your own by the columns that hold its parts."""

    name: str = ""  # a name in PUBLIC; else what your file is called in ids and sources (the file's own name where empty)
    path: str = ""  # a file, a folder, or hub:ORG/NAME[/FILE]; ~, $NAME and ${NAME:-default} are filled in
    partial: bool = False  # take a part of what was published, or rows whose text was changed
    only: list[str] = Field(default_factory=list)  # parts of a set in several: languages, categories; all where empty
    leave_out: list[str] = Field(default_factory=list)  # categories that are not wanted
    repeats: bool = False  # take prompts that occur twice; they share a meaning
    kind: Kind | None = None  # of every row, or else:
    label: str = ""  # the column that says it
    kinds: dict[str, Kind] = Field(default_factory=dict)  # its values and the kinds they mean; the kinds' own names where empty
    prompt: str = ""  # columns, where they are called otherwise than published
    context: str = ""
    id: str = ""
    category: str = ""
    answer: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class PublicSet:
    """The published format of a set, and how its rows become examples.

    `columns` names, per part, the headers it was published under. `rows` are the published counts of
    a file and what each of them is. `kind` is a kind or a function of a row. `repeats` prompts occur
    twice as published (None: not known). `blanks` rows have no answer as published.
    """

    title: str
    read: Callable[[str, PublicSet, SetConfig, Path], list[Example]]
    kind: Kind | Callable[[Row, str], Kind]
    kinds: str
    columns: Mapping[str, tuple[str, ...]]
    rows: Mapping[int, str]
    licence: str
    where: str
    join: str = "{prompt}"
    after: str = ""
    repeats: int | None = 0
    blanks: int = 0
    parts: tuple[str, ...] = ()
    hub: tuple[str, ...] = field(default=())


def settings_of(query: str, spec: str) -> dict[str, str]:
    """The settings written as setting=value&setting=value.

    >>> settings_of("prompt=my%26text&partial=true", "")
    {'prompt': 'my&text', 'partial': 'true'}
    """
    tree = {}
    for part in query.split("&") if query else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise BadInput(f"'{part}' is no setting", spec[:80], "write setting=value, with & between")
        tree[key] = unquote(value)
    return tree


def rows_of(path: Path) -> list[Place]:
    """Every row of a file with a header."""
    if path.suffix.lower() in (".csv", ".tsv", ".json", ".jsonl") and path.is_file():
        _not_utf16(path)
    return list(read_rows(path))


def lines_of(path: Path, separator: str) -> list[tuple[str, list[str]]]:
    """The cells of each line of a file without a header; a comma also means quoting."""
    text = _text(path)
    if separator == ",":
        try:
            lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        except csv.Error as error:
            raise BadInput(f"broken CSV, {error}", str(path), "fetch the file again") from None
    else:
        lines = [line.rstrip("\r").split(separator) for line in text.split("\n")]
    found = [(f"{path}, row {number}", cells) for number, cells in enumerate(lines, start=1) if any(cells)]
    if not found:
        raise BadInput("no rows", str(path), "give a file with at least one row")
    return found


def _text(path: Path) -> str:
    _not_utf16(path)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"byte {error.start} (0x{error.object[error.start]:02x}) is no UTF-8"
        raise BadInput(what, str(path), "save the file as UTF-8, for example with iconv") from None
    except OSError as error:
        raise BadInput(f"cannot read it, {error.strerror}", str(path), "name a readable file") from None


def _not_utf16(path: Path) -> None:
    """Refuse zero bytes: text in UTF-8 has none, and parsed as such it would only look damaged."""
    try:
        with path.open("rb") as file:
            begins = file.read(4096)
    except OSError as error:
        raise BadInput(f"cannot read it, {error.strerror}", str(path), "name a readable file") from None
    if b"\0" in begins:
        raise BadInput("zero bytes between the letters, it looks like UTF-16", str(path), "save the file as UTF-8")


def check_count(n: int, name: str, published: Mapping[int, str], config: SetConfig, where: Path | str) -> None:
    """Refuse a count that was never published, unless it is a part that was asked for."""
    if not published or n in published or (config.partial and n < max(published)):
        return
    told = " or ".join(f"{count} ({what})" if what else f"{count}" for count, what in published.items())
    remedy = "take the published file" if n > max(published) else "fetch the whole file again, or take a part with partial=true"
    raise BadInput(f"{n} rows, published {name} has {told}", str(where), remedy)


def check_published(source: str, texts: Iterable[str], where: Path | str) -> None:
    """Refuse a file of a published count whose text is not the published one, in any order of rows and with any blanks."""
    lines = sorted(" ".join(text.split()) for text in texts)
    known = PUBLISHED.get(source, {}).get(len(lines))
    if known and digest(lines) not in known.split():
        remedy = "cells were moved, cut or changed: fetch the file again, or take it as it is with partial=true"
        raise BadInput(f"its text is not the published {source}", str(where), remedy)


def find_columns(columns: Mapping[str, tuple[str, ...]], config: SetConfig, row: Row, where: str) -> dict[str, str]:
    """The header of each part: as the config says, else the first published one that the file has."""
    known = [str(key) for key in row]
    chosen = {part: getattr(config, part) for part in PARTS if getattr(config, part)}
    wanted = {**columns, **{part: (name,) for part, name in chosen.items()}}
    found = {part: next((name for name in names if name in known), None) for part, names in wanted.items()}
    missing = {part: names for part, names in wanted.items() if found[part] is None}
    if missing and len(missing) == len(wanted) and not chosen and len(wanted) > 1:
        first = ", ".join(f"'{names[0]}'" for names in wanted.values())
        raise BadInput(f"no header line with the columns {first}", where, "put the published header first")
    for part, names in missing.items():
        near = nearest(names[0], known) or nearest(names[0].lower(), [k.lower() for k in known])
        near = next((k for k in known if k.lower() == near.lower()), near)
        has = ", ".join(repr(k[:30]) for k in known[:12])
        remedy = f"did you mean '{near[:30]}'? Say so with {part}=" if near else f"name it with {part}=; the file has {has}"
        raise BadInput(f"no column '{names[0]}'", where, remedy)
    return {part: name for part, name in found.items() if name is not None}


def cell(row: Row, column: str, where: str) -> str:
    """A cell as text without its outer blanks: a list is joined, None is empty."""
    value: Any = row.get(column)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, (str, int, float)):
        return str(value).strip()
    raise BadInput(f"'{column}' is {type(value).__name__}, text was expected", where, "name another column")


def prompt_of(row: Row, column: str, where: str) -> str:
    """The prompt's cell, refused where it is empty or was read in a wrong encoding."""
    if not isinstance(row.get(column, ""), str | None):
        raise BadInput(f"'{column}' is {type(row[column]).__name__}, text was expected", where, "name the prompt's column")
    return readable(cell(row, column, where), column, where)


def readable(text: str, column: str, where: str, what: str = "prompt") -> str:
    """`text`, refused where it is empty or garbled."""
    if not text:
        raise BadInput(f"no {what} in '{column}'", where, "fetch the file again, or remove the row and take partial=true")
    if garbled(text):
        raise BadInput(f"the text in '{column}' was read in a wrong encoding", where, "fetch the file again and keep it UTF-8")
    return text


def garbled(text: str) -> bool:
    """UTF-8 that was once read as Latin-1 and saved, or letters replaced by U+FFFD.

    >>> garbled("café"), garbled("cafÃ©"), garbled("caf\ufffd"), garbled("l’été")
    (False, True, True, False)
    """
    if "\ufffd" in text:
        return True
    if text.isascii():
        return False
    for wrong in ("cp1252", "latin-1"):
        try:
            text.encode(wrong).decode("utf-8")
        except UnicodeError:
            continue
        return True
    return False


def digest(texts: Sequence[str] | str) -> str:
    """Sixteen hex digits that change with any letter and with the order."""
    joined = texts if isinstance(texts, str) else "\0".join(texts)
    return hashlib.sha256(joined.encode()).hexdigest()[:16]


def choose(asked: Sequence[str], known: Sequence[str], name: str) -> list[str]:
    """The parts asked for, in the published order; all where none is asked for."""
    for part in asked:
        if part not in known:
            near = nearest(part, known)
            remedy = f"did you mean '{near}'?" if near else f"it has {', '.join(known)}" if known else "leave only= out"
            raise BadInput(f"{name} has no part '{part}'", "only", remedy)
    return [part for part in known if not asked or part in asked]


def files_in(path: Path, pattern: str) -> list[Path]:
    """`path` itself, or the files of a folder that match; no such path, or nothing that matches, is bad input."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        near = nearest(path.name, [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else [])
        remedy = f"did you mean '{near}'?" if near else "correct the path (relative ones start at the working directory)"
        raise BadInput("no such file or folder", str(path), remedy)
    found = sorted(path.glob(pattern))
    if not found:
        raise BadInput(f"no file {pattern} in the folder", str(path), "name the folder that holds the published files")
    return found
