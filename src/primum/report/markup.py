"""HTML and SVG that cannot be injected into: a string is text unless it was made here."""

from __future__ import annotations

import html
import json
import re
from typing import Any

VOID = frozenset({"meta", "input", "br", "hr"})
# What neither HTML nor XML may hold, even escaped.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")


class Markup(str):
    """Text that is HTML already."""


def escape(value: object) -> Markup:
    """`value` as text that no parser takes for a tag, an entity or an attribute's end.

    >>> escape('<b>"&')
    '&lt;b&gt;&quot;&amp;'
    """
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_FORBIDDEN.sub("\ufffd", str(value))))


def join(*children: object) -> Markup:
    """The children one after the other, plain strings escaped; None is left out."""
    return Markup("".join(escape(c) for c in children if c is not None))


def tag(name: str, /, *children: object, **attributes: Any) -> Markup:
    """One element. `class_` and `aria_label` become class and aria-label; None and False are left out.

    >>> tag("td", "<3", class_="n")
    '<td class="n">&lt;3</td>'
    """
    pairs = ((k.rstrip("_").replace("_", "-"), v) for k, v in attributes.items() if v is not None and v is not False)
    head = name + "".join(f" {k}" if v is True else f' {k}="{escape(v)}"' for k, v in pairs)
    return Markup(f"<{head}>") if name in VOID else Markup(f"<{head}>{join(*children)}</{name}>")


def embedded_json(value: Any) -> Markup:
    """`value` as JSON that can stand in a script element: no '<', '>' or '&', and only ASCII.

    >>> print(embedded_json("</script>"))
    "\\u003c/script\\u003e"
    """
    text = json.dumps(value, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
