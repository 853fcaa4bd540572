"""Published jailbreak templates, each a text with a place for what is asked."""

from __future__ import annotations

from primum.config import validate
from primum.evaluate.public_rows import (
    SetConfig,
    cell,
    check_count,
    check_published,
    find_columns,
    prompt_of,
    rows_of,
    settings_of,
)
from primum.files import expand
from primum.types import BadInput

NAME = "gptfuzzer_templates"
PLACE, ASK = "[INSERT PROMPT HERE]", "{ask}"
COLUMNS = {"id": ("id",), "prompt": ("text",)}


def load_templates(spec: str) -> list[tuple[str, str]]:
    """GPTFuzzer's 77 templates as (name, text): PATH or gptfuzzer_templates:PATH, with ?partial=true for a part.

    Each text holds "{ask}" once. Fill it with `text.replace("{ask}", prompt)`: other braces stand as published.
    """
    path, _, query = spec.removeprefix(f"{NAME}:").partition("?")
    config = validate(SetConfig, {**settings_of(query, spec), "path": path}, spec[:80])
    file = expand(path)
    rows = rows_of(file)
    columns = find_columns(COLUMNS, config, rows[0][1], rows[0][0])
    found: dict[str, str] = {}
    for where, row in rows:
        name, text = f"{NAME}/{cell(row, columns['id'], where)}", prompt_of(row, columns["prompt"], where)
        if text.count(PLACE) != 1 or ASK in text:
            raise BadInput(f"'{PLACE}' does not stand there once", where, "fetch the file again, or mend the template")
        if name in found or text in found.values():
            raise BadInput(f"template {name} occurs twice", where, "fetch the file again, or remove one of the rows")
        found[name] = text
    check_count(len(rows), NAME, {77: ""}, config, file)
    if not config.partial:
        check_published(NAME, ("\0".join(pair) for pair in found.items()), file)
    return [(name, text.replace(PLACE, ASK)) for name, text in found.items()]
