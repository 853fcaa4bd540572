"""One HTML file with its styles and scripts inside, that may load nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from primum.report.markup import Markup, join, tag


def document(
    title: str, header: Markup, links: Sequence[tuple[str, str]], sections: Sequence[Markup], footer: str,
    *, styles: Sequence[str] = ("page.css",), scripts: Sequence[str] = ("page.js",),
) -> str:  # fmt: skip
    """A page of sections under a bar of links to them (id, name); `styles` and `scripts` are names in the assets folder."""
    script = "".join(_asset(name) for name in scripts)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        tag("title", title),
        tag("style", Markup("".join(_asset(name) for name in styles))),
    )
    skip = tag("a", "Skip to the results", href="#main", class_="skip")
    main = tag("main", *sections, id="main")
    body = tag("body", skip, header, _links(links), main, tag("footer", tag("p", footer)))
    return "<!doctype html>\n" + tag("html", head, join(body, tag("script", Markup(script))), lang="en") + "\n"


def _asset(name: str) -> str:
    return files("primum.report").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Forbids every load, and every script but this page's own."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _links(links: Sequence[tuple[str, str]]) -> Markup:
    items = [tag("li", tag("a", name, href=f"#{id_}")) for id_, name in links]
    button = tag("button", "◐", type="button", id="theme", hidden=True, aria_label="Theme: auto")
    return tag("div", tag("nav", tag("ul", *items), aria_label="Sections"), button, class_="bar")
