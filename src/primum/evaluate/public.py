"""Public sets of prompts by name, and files of your own by a mapping of their columns, as examples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from primum.config import nearest, validate
from primum.evaluate.generated import generated
from primum.evaluate.public_catalogue import PUBLIC
from primum.evaluate.public_formats import by_label, table
from primum.evaluate.public_rows import PARTS, PublicSet, SetConfig, check_published, settings_of
from primum.files import expand
from primum.types import KINDS, BadInput, Example, Kind

__all__ = ["PUBLIC", "PublicSet", "SetConfig", "language", "load_set", "read_spec"]
DIGEST = re.compile(r"/[0-9a-f]{16}$")
LANGUAGES = re.compile(r"(?:mgsm|multijail|xsafety|language_confusion/\w+/\w+)/([a-z]{2})")


def load_set(spec: str | SetConfig) -> list[Example]:
    """The examples of a set: "xstest:PATH", "mgsm:FOLDER?only=sw,bn", "hub:openai/gsm8k", "file:PATH?prompt=COLUMN&kind=harmful".

    A count or a text that was never published, a missing column, a torn or garbled row, an empty
    prompt and a repeated one are each bad input in one line. The order of rows does not matter, but
    where it is all that aligns translations it is checked. "generated:FORM?n=200" needs no file.
    """
    if isinstance(spec, str) and spec.startswith("generated:"):
        return generated(spec)
    config = read_spec(spec) if isinstance(spec, str) else spec
    known = PUBLIC.get(config.name)
    if not config.path:
        raise BadInput("no path", config.name or "sets", "name a file, a folder or hub:ORG/NAME/FILE")
    path = _fetched(config, known) if config.path.startswith("hub:") else expand(config.path)
    if known is None:
        known, config = _own(config, path), config.model_copy(update={"name": config.name or path.name.split(".")[0]})
    elif config.kind or config.label or config.kinds:
        raise BadInput(f"the kinds of {config.name} are known", config.path, "leave kind, label and kinds out, or use file:PATH")
    made = known.read(config.name, known, config, path)
    if config.name in PUBLIC and not config.partial and not any(getattr(config, part) for part in PARTS):
        _check_text(made, path)
    found = _distinct(made, known.repeats, config, path)
    categories = list(dict.fromkeys(e.category for e in found))
    for category in config.leave_out:
        if category not in categories:
            near = nearest(category, categories)
            remedy = f"did you mean '{near}'?" if near else f"it has {', '.join(map(repr, categories[:12]))}"
            raise BadInput(f"no category '{category}' to leave out", config.path, remedy)
    return [e for e in found if e.category not in config.leave_out]


def read_spec(spec: str) -> SetConfig:
    """A set written as NAME:PATH?setting=value&setting=value; lists have commas between.

    >>> found = read_spec("file:my.csv?prompt=text&label=verdict&kinds=bad=harmful,ok=benign")
    >>> found.name, found.path, found.prompt, found.kinds
    ('my', 'my.csv', 'text', {'bad': 'harmful', 'ok': 'benign'})
    """
    name, colon, rest = spec.partition(":")
    if not colon or not rest or (name not in PUBLIC and name not in ("file", "hub")):
        near = nearest(name, [*PUBLIC, "file", "hub", "generated"])
        remedy = f"did you mean '{near}:'?" if near else f"write NAME:PATH with one of {', '.join(PUBLIC)}, file, hub"
        raise BadInput(f"'{spec[:80]}' names no set", "sets", remedy)
    path, _, query = rest.partition("?")
    tree: dict[str, Any] = {"name": name, "path": path}
    for key, value in settings_of(query, spec).items():
        if key in ("only", "leave_out"):
            tree[key] = value.split(",")
        elif key == "kinds":
            tree[key] = {meant: kind for meant, _, kind in (pair.partition("=") for pair in value.split(","))}
        else:
            tree[key] = value
    if name == "file":
        own = Path(path).name.split(".")[0]
        tree["name"] = f"{own}_file" if own in PUBLIC else own
    elif name == "hub":
        tree |= {"name": _set_of(path), "path": f"hub:{path}"}
    return validate(SetConfig, tree, spec[:80])


def language(example: Example) -> str:
    """The language of an example of a multilingual set, in which its reply has to be; "" where the set says none.

    >>> language(Example("1", "Why?", "benign", source="language_confusion/crosslingual/okapi/ja"))
    'ja'
    """
    match = LANGUAGES.fullmatch(example.source)
    return match[1] if match else ""


def _own(config: SetConfig, path: Path) -> PublicSet:
    """A file of your own, by its mapping."""
    where = config.path
    if not config.prompt:
        near = nearest(config.name, list(PUBLIC))
        remedy = f"did you mean '{near}'?" if near else f"give prompt=COLUMN, or a name out of {', '.join(PUBLIC)}"
        raise BadInput(f"'{config.name}' is no published set, and no column is said to hold the prompts", where, remedy)
    if config.label:
        named: dict[str, Kind] = {kind: kind for kind in KINDS}
        kind: Any = by_label(config.label, config.kinds or named)
    elif config.kind:
        kind = config.kind
    else:
        raise BadInput("no kind", where, f"give kind= one of {', '.join(KINDS)}, or label=COLUMN that says it")
    columns = {"label": (config.label,)} if config.label else {}
    return PublicSet(config.name, table, kind, "", columns, {}, "", where, join="{context}\n\n{prompt}")


def _set_of(path: str) -> str:
    repository = "/".join(path.split("/")[:2])
    name = next((name for name, known in PUBLIC.items() if any(f.startswith(f"{repository}/") for f in known.hub)), "")
    if not name:
        held = ["/".join(known.hub[0].split("/")[:2]) for known in PUBLIC.values() if known.hub]
        near = nearest(repository, held)
        remedy = f"did you mean '{near}'?" if near else f"write NAME:hub:ORG/NAME/FILE; known are {', '.join(held)}"
        raise BadInput(f"nothing is known of '{repository}'", f"hub:{path}", remedy)
    return name


def _fetched(config: SetConfig, known: PublicSet | None) -> Path:
    """The files of a hub repository in the hub's cache: the one named, or those of the published set."""
    from huggingface_hub import hf_hub_download

    organisation, name, file = [*config.path.removeprefix("hub:").split("/", 2), "", ""][:3]
    repository = f"{organisation}/{name}"
    files = (
        [file] if file else [f.removeprefix(f"{repository}/") for f in (known.hub if known else ()) if f.startswith(repository)]
    )
    if not files:
        raise BadInput("no file is named", config.path, "write hub:ORG/NAME/FILE")
    if not file and known and config.only:
        files = [f for f in files if any(part in re.split(r"[/._-]", f) or part in Path(f).stem for part in config.only)] or files
    try:
        paths = [Path(hf_hub_download(repository, f, repo_type="dataset")) for f in files]
    except (OSError, ValueError) as error:
        line = str(error).strip().split("\n")[0][:160]
        raise BadInput(f"the hub did not give it, {line}", config.path, "fetch the file yourself and name its path") from None
    return paths[0] if len(paths) == 1 else paths[0].parent


def _check_text(made: Sequence[Example], path: Path) -> None:
    """Each part of a set against the digest of its published text."""
    parts: dict[str, list[str]] = {}
    for e in made:
        parts.setdefault(e.source, []).append("\0".join((e.id, e.prompt, e.kind, e.category, e.answer)))
    for source, texts in parts.items():
        check_published(source, texts, path)


def _distinct(examples: Sequence[Example], known: int | None, config: SetConfig, where: Path) -> list[Example]:
    """Refuse an id that occurs twice, and more repeated prompts than published; repeats share a meaning."""
    first: dict[tuple[str, str], tuple[int, Example]] = {}
    times: Counter[str] = Counter()
    found: list[Example] = []
    repeats = 0
    for number, e in enumerate(examples, start=1):
        times[e.id] += 1
        if times[e.id] > 1 and not DIGEST.search(e.id):
            raise BadInput(f"the id '{e.id}' occurs twice", str(where), "fetch the file again, or remove one of the rows")
        earlier = first.setdefault((e.source, e.prompt), (number, e))
        if earlier[0] != number:
            repeats += 1
            if known is not None and repeats > known and not config.repeats:
                remedy = "fetch the file again, or take prompts that occur twice with repeats=true"
                raise BadInput(f"prompt {number} repeats prompt {earlier[0]}", str(where), remedy)
            e = replace(e, meaning=e.meaning or earlier[1].cluster)
            if times[e.id] > 1:
                e = replace(e, id=f"{e.id}-{times[e.id]}")
        found.append(e)
    return found
