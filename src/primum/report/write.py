"""The three files of a report, each written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

from primum.report.collect import collect
from primum.report.markdown import markdown
from primum.report.page import page
from primum.report.samples import samples
from primum.run import plain, write_text
from primum.types import BadInput


def write_report(path: Path) -> Path:
    """Write report.json, report.md and report.html into the run directory `path`; the page's path.

    The same run directory gives the same three files, byte for byte.
    """
    report = collect(path)
    html = path / "report.html"
    texts = {
        path / "report.json": json.dumps(plain(report), ensure_ascii=False, indent=1),
        path / "report.md": markdown(report),
        html: page(report, samples(path)),
    }
    try:
        for target, text in texts.items():
            write_text(target, _encodable(text))
    except OSError as error:
        raise BadInput(f"cannot write the report, {error.strerror}", str(path), "free space or mend the permissions") from None
    return html


def _encodable(text: str) -> str:
    """`text` with lone surrogates, which some tokenizers emit and UTF-8 cannot hold, as '?'."""
    return text.encode("utf-8", "replace").decode("utf-8")
