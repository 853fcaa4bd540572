"""Text as it is kept, and text as it is compared."""

from __future__ import annotations

import re
import unicodedata

LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
# Lone surrogates cannot be written as UTF-8; the rest never reaches a reader's eye.
UNWRITABLE = re.compile("[\ud800-\udfff]")
INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufeff]")
ZERO_WIDTH = re.compile("[\u00ad\u200b-\u200f\u2060]")


def normalise(text: str) -> str:
    """`text` with plain line ends, without control characters and outer white space; else untouched.

    >>> normalise(" Is tea\\r\\nsafe?\\x00 ")
    'Is tea\\nsafe?'
    """
    return LINE_ENDS.sub("\n", INVISIBLE.sub("", UNWRITABLE.sub("\ufffd", text))).strip()


def folded(text: str) -> str:
    """The form in which two prompts are the same prompt: case, width, white space and zero-width characters do not count.

    >>> folded("IS  tea\\nsafe？") == folded("is tea safe?")
    True
    """
    plain = unicodedata.normalize("NFKC", ZERO_WIDTH.sub("", text)).casefold()
    return " ".join(unicodedata.normalize("NFKC", plain).split())
