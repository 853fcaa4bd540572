"""One POST of JSON to one address: no proxy, no redirect, and a limit on the whole exchange, not on each read."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import threading
import time
from typing import Any
from urllib.parse import SplitResult, urlsplit

from primum.types import BadInput

_MOST_BYTES = 4_000_000
_MOST_WORDS = 300  # characters kept of what a server gives as its reason
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})


class Trouble(Exception):
    """Why a request brought no verdict: whether another try may help, how long the server asks to wait, what was said instead."""

    def __init__(self, kind: str, *, again: bool, wait_seconds: float = 0.0, instead: str = "") -> None:
        super().__init__(kind)
        self.kind, self.again, self.wait_seconds, self.instead = kind, again, wait_seconds, instead


def address(url: str) -> SplitResult:
    """The chat-completions address of a server's base address, or itself.

    >>> address("http://localhost:8000/v1").geturl()
    'http://localhost:8000/v1/chat/completions'
    """
    try:
        parts = urlsplit(url.strip())
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        known = known and re.fullmatch("[!-~]+", url.strip()) is not None and bool(str(parts.hostname).encode("idna"))
    except ValueError:  # a port that is no number, a name that is too long
        known = False
    if not known:
        raise BadInput(f"'{url}' is no address", "endpoint url", "give one such as http://localhost:8000/v1")
    path = parts.path.rstrip("/")
    return parts._replace(path=path if path.endswith("/chat/completions") else f"{path}/chat/completions")


def post(to: SplitResult, payload: dict[str, Any], key: str, limit_seconds: float) -> Any:
    """The JSON a server answers a JSON request with; Trouble where it gives none in time.

    A server that sends a byte now and then is cut off too: at the limit the connection is shut.
    """
    deadline = time.monotonic() + limit_seconds
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    connection = _connection(to, limit_seconds)
    late = threading.Event()
    try:
        connection.connect()
        watch = threading.Timer(max(0.0, deadline - time.monotonic()), _shut, [connection.sock, late])
        watch.daemon = True
        watch.start()
        try:
            target = to.path + (f"?{to.query}" if to.query else "")
            connection.request("POST", target, json.dumps(payload).encode(), headers)
            answer = connection.getresponse()
            body = answer.read(_MOST_BYTES + 1)
            if answer.length and len(body) <= _MOST_BYTES:
                raise http.client.IncompleteRead(body, answer.length)  # which a read with a limit does not tell
        finally:
            watch.cancel()
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: read while the time limit shut it
        slow = late.is_set() or isinstance(error, TimeoutError)
        raise Trouble("timeout" if slow else f"connection: {type(error).__name__}", again=True) from None
    finally:
        connection.close()
    if late.is_set():
        raise Trouble("timeout", again=True)
    return _read(answer, body, key)


def complaint(body: Any) -> str:
    """The error that a JSON body tells of, in the forms that servers write it; "" where it tells of none.

    >>> complaint({"error": {"message": "no such model"}}), complaint({"detail": [{"msg": "too long"}]}), complaint({"a": 1})
    ('no such model', 'too long', '')
    """
    for _ in range(6):
        if isinstance(body, list):
            body = body[0] if body else None
        elif isinstance(body, dict):
            body = next((body[name] for name in ("error", "message", "detail", "msg") if body.get(name)), None)
    return body if isinstance(body, str) else ""


def _connection(to: SplitResult, limit_seconds: float) -> http.client.HTTPConnection:
    host = str(to.hostname)
    if to.scheme == "https":
        return http.client.HTTPSConnection(host, to.port, timeout=limit_seconds, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, to.port, timeout=limit_seconds)


def _shut(sock: socket.socket, late: threading.Event) -> None:
    late.set()
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is closed already
        pass


def _read(answer: http.client.HTTPResponse, body: bytes, key: str) -> Any:
    if answer.status != 200:
        wait = _wait(answer.getheader("Retry-After"))
        raise Trouble(f"HTTP {answer.status}", again=answer.status in _PASSING, wait_seconds=wait, instead=_reason(body, key))
    if len(body) > _MOST_BYTES:
        raise Trouble("answer too long", again=False)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Trouble("no JSON", again=False, instead=body.decode(errors="replace")) from None


def _reason(body: bytes, key: str) -> str:
    """Why a server refused, by its own words: one short line without the key."""
    text = body.decode(errors="replace")
    try:
        words = complaint(json.loads(text)) or text
    except (ValueError, RecursionError):
        words = text
    words = words.replace(key, "…") if key else words
    return " ".join("".join(c if c.isprintable() else " " for c in words[: 9 * _MOST_WORDS]).split())[:_MOST_WORDS]


def _wait(header: str | None) -> float:
    """Seconds a server asks to wait; a date is not understood and counts as none."""
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0
