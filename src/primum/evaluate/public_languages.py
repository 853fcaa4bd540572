"""Sets of the same prompts in several languages, and of prompts whose reply has to be in a language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from primum.evaluate.public_formats import example_of
from primum.evaluate.public_rows import (
    Place,
    PublicSet,
    SetConfig,
    cell,
    check_count,
    choose,
    digest,
    files_in,
    find_columns,
    lines_of,
    readable,
    rows_of,
)  # fmt: skip
from primum.types import BadInput, Example, Kind

MGSM = ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")
MGSM_ORDER = "4cf7f32f4aab40fc"  # of the published answers, the same in every language
MULTIJAIL = ("en", "zh", "it", "vi", "ar", "ko", "th", "bn", "sw", "jv")
XSAFETY = ("ar", "bn", "de", "en", "es", "fr", "hi", "ja", "ru", "zh")
ASKED_IN = {
    "ar": "Arabic", "de": "German", "es": "Spanish", "fr": "French", "hi": "Hindi", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "pt": "Portuguese", "ru": "Russian", "tr": "Turkish", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def multijail(name: str, known: PublicSet, config: SetConfig, path: Path) -> list[Example]:
    """One example for each language column of a row; the languages of a row share its meaning."""
    languages = choose(config.only, known.parts, name)
    rows = rows_of(path)
    check = find_columns({**known.columns, **{code: (code,) for code in languages}}, config, rows[0][1], rows[0][0])
    check_count(len(rows), name, known.rows, config, path)
    found = []
    for code in languages:
        for e in (example_of(name, known, {**_parts(check), "prompt": code}, place) for place in rows):
            own = e.id.removeprefix(f"{name}/")
            found.append(replace(e, id=f"{name}/{code}/{own}", source=f"{name}/{code}", meaning=f"{name}/{own}"))
    return found


def _parts(columns: Mapping[str, str]) -> dict[str, str]:
    return {part: column for part, column in columns.items() if part in ("id", "category")}


def mgsm(name: str, known: PublicSet, config: SetConfig, path: Path) -> list[Example]:
    """One file for each language, question and answer without a header; rows of one number share a meaning.

    The files have no ids: only the order says which rows are translations. So a whole file has to
    have the answers in the published order, and parts of files have to agree with each other.
    """
    found: dict[str, tuple[Path, list[tuple[str, list[str]]]]] = {}
    files = {re.sub(r"^mgsm_|\.tsv$", "", p.name): p for p in files_in(path, "mgsm_*.tsv")}
    wanted = choose(config.only, known.parts, name) if path.is_dir() else list(files)
    for code in wanted:
        if code not in files:
            raise BadInput(f"no mgsm_{code}.tsv", str(path), "add it, or name the languages with only=")
        rows = lines_of(files[code], "\t")
        torn = next((where for where, cells in rows if len(cells) != 2 or not cells[1].strip()), None)
        if torn:
            raise BadInput("not a question, a tab and an answer", torn, "fetch the file again")
        check_count(len(rows), name, known.rows, config, files[code])
        found[code] = files[code], rows
    _aligned(found, config)
    number = len(found) > 1 or not config.partial
    return [
        Example(
            id=f"{name}/{code}/{i if number else digest(cells[0].strip())}",
            prompt=readable(cells[0].strip(), "question", where),
            kind="task",
            answer=cells[1].strip(),
            source=f"{name}/{code}",
            meaning=f"{name}/{i}" if number else "",
        )
        for code, (_, rows) in found.items()
        for i, (where, cells) in enumerate(rows, start=1)
    ]


def _aligned(found: Mapping[str, tuple[Path, list[tuple[str, list[str]]]]], config: SetConfig) -> None:
    answers = {code: [cells[1].strip() for _, cells in rows] for code, (_, rows) in found.items()}
    first = next(iter(answers))
    for code, (path, rows) in found.items():
        for i, (own, other) in enumerate(zip(answers[code], answers[first], strict=False)):
            if own != other:
                what = f"answer {own[:20]} where {found[first][0].name} has {other[:20]}: rows are not in one order"
                raise BadInput(what, rows[i][0], "fetch both files again, they are aligned by row")
        if len(rows) != len(answers[first]):
            raise BadInput(
                f"{len(rows)} rows beside {len(answers[first])} of {found[first][0].name}", str(path), "take equal parts"
            )
        if not config.partial and digest(answers[code]) != MGSM_ORDER:
            remedy = "fetch the file again; languages are aligned by row, so the order matters"
            raise BadInput("its answers are not the published ones in the published order", str(path), remedy)


def xsafety(name: str, known: PublicSet, config: SetConfig, path: Path) -> list[Example]:
    """A folder for each language with a file for each category, one prompt a row, no header; row numbers align languages."""
    languages = choose(config.only, known.parts, name)
    found = []
    for code in languages:
        folder = path / {"es": "sp"}.get(code, code)
        if not folder.is_dir():
            raise BadInput(f"no folder {folder.name}", str(path), "name the folder of languages, or choose some with only=")
        if rest := sorted(folder.glob("*.xlsx")):
            raise BadInput(
                "an Excel file", str(rest[0]), "save it as CSV in UTF-8 beside it, remove it, or leave the language out"
            )
        for file in files_in(folder, "*.csv"):
            category = re.sub(r"_(?:n|en)$", "", file.stem)
            rows = lines_of(file, ",")
            wide = next((where for where, cells in rows if len(cells) != 1), None)
            if wide:
                raise BadInput("several cells, one prompt a row is published", wide, "fetch the file again")
            check_count(len(rows), f"{name} {category}", known.rows, config, file)
            kind: Kind = "benign" if category in ("commonsense", "Mental_Health") else "harmful"
            for i, (where, cells) in enumerate(rows, start=1):
                prompt = readable(cells[0].strip(), "prompt", where)
                meaning = f"{name}/{category}/{i}"
                own = f"{name}/{code}/{category}/{i}"
                found.append(Example(own, prompt, kind, category, source=f"{name}/{code}", meaning=meaning))
    return found


def language_confusion(name: str, known: PublicSet, config: SetConfig, path: Path) -> list[Example]:
    """Prompts whose reply has to be in the language that ends the source: a file of the benchmark, or a folder of them."""
    files = [f.resolve() for f in files_in(path, "**/*.csv")]
    parts = {f: (*f.parts[-3:-1], f.stem) for f in files}
    choose(config.only, list(dict.fromkeys(part for own in parts.values() for part in own)), name)
    found = []
    for file in files:
        if config.only and not set(config.only) & set(parts[file]):
            continue
        rows = rows_of(file)
        columns = find_columns({**known.columns, "language": ("language",), "from": ("source",)}, config, rows[0][1], rows[0][0])
        made = [_to_reply_in(name, known, columns, place) for place in rows]
        told = {e.source for e in made}
        if len(told) > 1:
            what = f"rows of {' and '.join(sorted(told)[:2])} in one file"
            raise BadInput(what, str(file), "cells were moved, or files joined: fetch the file again")
        complex_ones = sum("/complex_prompts/" in e.source for e in made)
        check_count(len(rows), name, {99: "complex prompts"} if complex_ones else {100: "a file"}, config, file)
        found += made
    return found


def _to_reply_in(name: str, known: PublicSet, columns: Mapping[str, str], place: Place) -> Example:
    """A prompt and the language of its reply; requests for other languages after the same prompt share a meaning."""
    where, row = place
    code, source = cell(row, columns["language"], where), cell(row, columns["from"], where)
    if code not in (ASKED_IN | {"en": ""}):
        raise BadInput(f"language '{code[:20]}'", where, "fetch the file again")
    e = example_of(name, known, {"prompt": columns["prompt"]}, place)
    asked = ASKED_IN.get(code, "English")
    request = cell(row, "phrasing", where).replace("{language_requested}", asked)
    way = "crosslingual" if request else "monolingual"
    base = re.sub(re.escape(request), "", e.prompt, flags=re.IGNORECASE) if request else ""
    base = base if base != e.prompt else e.prompt.replace(asked, "")
    of = f"{name}/{way}/{re.sub('_human_.*$|(?<=native)_prompts$', '', source)}/{code}"
    meaning = f"{name}/{source}/{digest(base)}" if base else ""
    return replace(e, id=f"{of}/{digest(e.prompt)}", category=way, source=of, meaning=meaning)
