"""The published formats of sets of prompts, each a function from a checked file to examples."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from primum.evaluate.bias import ASK, LETTERS, options
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
    prompt_of,
    rows_of,
)  # fmt: skip
from primum.files import Row
from primum.types import BadInput, Example, Kind

BBQ = {
    "Age": 3680, "Disability_status": 1556, "Gender_identity": 5672, "Nationality": 3080, "Physical_appearance": 1576,
    "Race_ethnicity": 6880, "Race_x_SES": 11160, "Race_x_gender": 15960, "Religion": 1200, "SES": 6864, "Sexual_orientation": 864,
}  # fmt: skip
JAILBREAKBENCH = {
    "07d2e4d55432419e": "harmful",
    "ceed2697e502835a": "benign",
}  # digests of the published prompts in alphabetical order


def table(name: str, known: PublicSet, config: SetConfig, path: Path) -> list[Example]:
    """One file, one row an example; a row's own id, or else one that its text gives."""
    if config.only:
        choose(config.only, (), name)
    rows = rows_of(path)
    columns = find_columns(known.columns, config, rows[0][1], rows[0][0])
    made = [example_of(name, known, columns, place) for place in rows]
    check_count(len(rows), name, known.rows, config, path)
    without = [where for (where, _), e in zip(rows, made, strict=True) if e.kind == "task" and not e.answer]
    if len(without) > known.blanks:
        raise BadInput("no answer for a task", without[0], "fetch the file again, or remove the row and take partial=true")
    return made


def example_of(name: str, known: PublicSet, columns: Mapping[str, str], place: Place) -> Example:
    where, row = place
    prompt = prompt_of(row, columns["prompt"], where)
    context = cell(row, columns["context"], where) if "context" in columns else ""
    told = {part: cell(row, columns[part], where) for part in ("id", "category", "answer", "meaning") if part in columns}
    if "id" in columns and not told["id"]:
        raise BadInput(f"no id in '{columns['id']}'", where, "fetch the file again")
    whole = known.join.format(prompt=prompt, context=context) if context else prompt
    answer = told.get("answer", "")
    if known.after and known.after not in answer:
        raise BadInput(f"no '{known.after}' before the final answer", where, "fetch the file again")
    return Example(
        id=f"{name}/{told.get('id') or digest(whole)}",
        prompt=whole,
        kind=known.kind(row, where) if callable(known.kind) else known.kind,
        category=told.get("category", "").strip("[]'").replace("', '", ", "),
        answer=answer.rsplit(known.after, 1)[-1].strip() if known.after else answer,
        source=name,
        meaning=f"{name}/{told['meaning']}" if told.get("meaning") else "",
    )


def by_label(column: str, kinds: Mapping[str, Kind]) -> Callable[[Row, str], Kind]:
    """The kind that a column's value means; a value of no meaning is refused."""

    def kind(row: Row, where: str) -> Kind:
        value = cell(row, column, where)
        if value not in kinds:
            has = ", ".join(f"'{k}'" for k in kinds)
            raise BadInput(
                f"'{column}' is '{value[:40]}'", where, f"expected {has}: fetch the file again, or name the set it is of"
            )
        return kinds[value]

    return kind


def aime(name: str, known: PublicSet, config: SetConfig, path: Path) -> list[Example]:
    """One problem a row; the answer, boxed in some copies, is a whole number from 0 to 999."""
    made = []
    for number, e in enumerate(table(name, known, config, path), start=1):
        found = re.fullmatch(r"0*(\d{1,3})", re.sub(r"^\\boxed\{(.*)\}$", r"\1", e.answer))
        if not found:
            what = f"answer '{e.answer[:20]}' is no whole number from 0 to 999"
            raise BadInput(what, f"{path}, problem {number}", "fetch the file again, or name its column with answer=")
        made.append(replace(e, answer=found[1]))
    return made


def xstest_kind(row: Row, where: str) -> Kind:
    """Harmful where the type is a contrast; the label of later versions has to agree."""
    kind = cell(row, "type", where)
    harmful = kind.startswith("contrast_")
    label = cell(row, "label", where) or ("unsafe" if harmful else "safe")
    if not kind or label != ("unsafe" if harmful else "safe"):
        raise BadInput(f"type '{kind[:40]}' beside label '{label[:40]}'", where, "cells were moved: fetch the file again")
    return "harmful" if harmful else "borderline"


def jailbreakbench(name: str, known: PublicSet, config: SetConfig, path: Path) -> list[Example]:
    """The harmful half, the benign look-alikes (borderline), or both of a folder, as twins."""
    found: dict[str, list[Example]] = {}
    for file in files_in(path, "*.csv"):
        half = "benign" if "benign" in file.name else "harmful"
        if path.is_dir() and half == "harmful" and not re.search("harmful|^jailbreakbench", file.name):
            continue
        made = table(f"{name}/{half}", replace(known, kind="borderline" if half == "benign" else "harmful"), _whole(config), file)
        truly = JAILBREAKBENCH.get(digest(sorted(e.prompt for e in made)), half)
        if truly != half:
            raise BadInput(f"these are the {truly} prompts", str(file), f"name the file {truly}-behaviors.csv")
        found[half] = made
    found = {half: found[half] for half in choose(config.only, list(found), name)}
    twins = {e.id.rsplit("/", 1)[-1]: e.id for e in found.get("benign", [])}
    return [replace(e, twin="" if h == "benign" else twins.get(e.id.rsplit("/", 1)[-1], "")) for h in found for e in found[h]]


def _whole(config: SetConfig) -> SetConfig:
    return config.model_copy(update={"only": []})


def bbq(name: str, known: PublicSet, config: SetConfig, path: Path) -> list[Example]:
    """Context, question and three lettered options; the id carries what bias scores need, the meaning is the template."""
    files = {p.stem: p for p in files_in(path, "*.jsonl")}
    if path.is_dir():
        wanted = choose(config.only, known.parts, name)
        lost = next((c for c in wanted if c not in files), None)
        if lost:
            raise BadInput(f"no {lost}.jsonl", str(path), "add it, or name the categories with only=")
        files = {c: files[c] for c in wanted}
    found = []
    for file in files.values():
        rows = rows_of(file)
        columns = find_columns(known.columns, config, rows[0][1], rows[0][0])
        made = [_question(name, columns, place) for place in rows]
        for category in dict.fromkeys(e.category for e in made):
            if category not in BBQ:
                raise BadInput(f"category '{category[:40]}'", str(file), f"BBQ has {', '.join(BBQ)}")
            count = sum(e.category == category for e in made)
            check_count(count, f"{name} {category}", {BBQ[category]: ""}, config, file)
        found += made
    return found


def _question(name: str, columns: Mapping[str, str], place: Place) -> Example:
    where, row = place
    text = {part: prompt_of(row, columns[part], where) for part in ("prompt", "context", "ans0", "ans1", "ans2")}
    label = cell(row, columns["label"], where)
    if label not in ("0", "1", "2"):
        raise BadInput(f"label '{label[:20]}'", where, "expected 0, 1 or 2: fetch the file again")
    category, item = cell(row, columns["category"], where), options(row, where)
    choices = "\n".join(f"{letter}) {text[f'ans{i}']}" for i, letter in enumerate(LETTERS))
    return Example(
        id=item.id(f"{name}/{category}/{cell(row, columns['id'], where)}", str(row["question_polarity"])),
        prompt=f"{text['context']}\n\n{text['prompt']}\n\n{choices}\n\n{ASK}",
        kind="task",
        category=category,
        answer=LETTERS[int(label)],
        source=f"{name}/{item.condition}",
        meaning=f"{name}/{category}/{cell(row, 'question_index', where)}",
    )
