"""Bad input in Inspect's words: one line to the person at the terminal, without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from inspect_ai._util.error import PrerequisiteError
from rich.markup import escape

from primum.types import BadInput


@contextmanager
def refused() -> Iterator[None]:
    """Whatever is bad input within becomes what Inspect prints as it is."""
    try:
        yield
    except BadInput as error:
        raise PrerequisiteError(escape(f"primum: {error}")) from None
