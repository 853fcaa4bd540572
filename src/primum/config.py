"""Recipes: one YAML file, dotted overrides, unknown keys refused with the nearest known one."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from primum.types import BadInput


class Config(BaseModel):
    """The base of every stage's settings: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


C = TypeVar("C", bound=Config)
FEW = 40  # settings that one line can name
_PLAIN_LIST = re.compile(r"\[([^\[\]{}\"']*)\]")


def load_recipe(kind: type[C], path: Path | None, overrides: Sequence[str] = (), under: dict[str, Any] | None = None) -> C:
    """The recipe in `path` (where None: `under`, laid on the defaults) with `section.key=value` overrides on top."""
    tree: dict[str, Any] = deepcopy(under or {})
    where = "command line"
    if path is not None:
        where = str(path)
        tree = read_yaml(path)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise BadInput(f"'{override}' is no setting", "command line", "write key=value, such as reinforce.steps=50")
        _put(tree, key.strip().split("."), _parse(value, override), override)
    return validate(kind, merge(kind().model_dump(), tree), where)


def merge(under: Any, over: Any) -> Any:
    """`over` laid on `under`, mapping by mapping; anything else replaces.

    >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return {**under, **{key: merge(under.get(key), value) for key, value in over.items()}}


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping a YAML file holds."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput("no such recipe", str(path), "name a YAML file, or a recipe that ships: quickstart") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"cannot read the recipe, {error}", str(path), "mend the YAML") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise BadInput("a recipe is a mapping of settings", str(path), "write 'key: value' lines")
    return tree


def validate(kind: type[C], tree: dict[str, Any], where: str) -> C:
    """`tree` as a `kind`; the first mistake as one line with the nearest known key."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            near = nearest(key, list(known_keys(kind)))
            raise BadInput(f"unknown setting '{key}'", where, f"did you mean '{near}'?" if near else _all_of(kind)) from None
        raise BadInput(f"{key} = {first.get('input')!r}: {first['msg']}", where, "see --print-config for every setting") from None


def _all_of(kind: type[Config]) -> str:
    """Where to read every setting: a few are told at once."""
    known = list(known_keys(kind))
    return f"the settings are {', '.join(known)}" if len(known) <= FEW else "see --print-config for every setting"


def known_keys(kind: type[Config], prefix: str = "") -> Iterator[str]:
    """Every dotted key of a config, sections included."""
    for name, field in kind.model_fields.items():
        yield prefix + name
        inner = _section(field.annotation)
        if inner is not None:
            yield from known_keys(inner, f"{prefix}{name}.")


def nearest(key: str, known: Sequence[str]) -> str:
    """The known key closest in spelling to `key`, or ''."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return close[0]
    last = key.rsplit(".", 1)[-1]
    return next((k for k in known if k.rsplit(".", 1)[-1] == last), "")


def differences(a: Any, b: Any, prefix: str = "") -> list[str]:
    """Dotted keys at which two plain trees differ, with both values.

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    ['a.c: 2 → 3']
    """
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted(a.keys() | b.keys())
        return [line for k in keys for line in differences(a.get(k), b.get(k), f"{prefix}{k}.")]
    return [] if a == b else [f"{prefix.rstrip('.')}: {a} → {b}"]


def _section(annotation: Any) -> type[Config] | None:
    """The Config in an annotation such as `Inner` or `Inner | None`."""
    options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    return next((o for o in options if isinstance(o, type) and issubclass(o, Config)), None)


def _parse(value: str, override: str) -> Any:
    """The value as YAML; in a plain list a text may hold a "?", which YAML's own lists do not take (gsm8k:FILE?partial=true)."""
    plain_list = _PLAIN_LIST.fullmatch(value) if "?" in value else None
    try:
        if plain_list:
            return [yaml.safe_load(part) for part in plain_list[1].split(",")]
        return yaml.safe_load(value) if value else ""
    except yaml.YAMLError:
        raise BadInput(f"cannot read the value in '{override}'", "command line", "quote it as YAML") from None


def _put(tree: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise BadInput(f"'{override}' goes below a plain value", "command line", "see --print-config")
    tree[keys[-1]] = value
