"""A real chat-completions server in a thread, which answers as a test tells it to."""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """What came in; `answer(n, body, handler)` gives text, (status, headers, text), or None and writes by itself."""

    def __init__(self, answer):
        self.answer, self.requests, self.headers, self.lock = answer, [], [], threading.Lock()
        self.busy = self.most_busy = 0

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler):
                body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
                with self.lock:
                    n = len(self.requests)
                    self.requests.append((handler.path, body))
                    self.headers.append(dict(handler.headers))
                    self.busy += 1
                    self.most_busy = max(self.most_busy, self.busy)
                try:
                    told = self.answer(n, body, handler)
                finally:
                    with self.lock:
                        self.busy -= 1
                if told is None:
                    return
                status, headers, text = told if isinstance(told, tuple) else (200, {}, told)
                data = text.encode()
                handler.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    handler.send_header(name, value)
                try:
                    handler.end_headers()
                    handler.wfile.write(data)
                except OSError:  # the judge has hung up
                    pass

            def log_message(handler, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"


@contextmanager
def serving(answer):
    server = Server(answer)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def completion(content, **message):
    """The body of a chat completion that says `content`."""
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content, **message}, "finish_reason": "stop"}]})


def parts(body):
    """The seal of a request, and the prompt and the answer under judgement."""
    shown = body["messages"][1]["content"]
    seal, prompt, answer = re.fullmatch(r"BEGIN (\w+)\nprompt: (.*)\nanswer: (.*)\nEND \1", shown, re.DOTALL).groups()
    return seal, json.loads(prompt), json.loads(answer)


def verdict(body, **answers):
    seal, _, _ = parts(body)
    return json.dumps({"seal": seal, **answers})


def slow(seconds, then):
    def answer(n, body, handler):
        time.sleep(seconds)
        return then(n, body, handler)

    return answer
