"""An OpenAI-compatible server of a local policy, one request at a time, with the faults that servers have.

python tests/chat_server.py FOLDER [--port 0] [--style inline|reasoning|reasoning_content] [--key KEY] [--fault JSON]

Its first line of output is its address. The model is known by its folder's name; it is read when first asked. A request may
say `style` for itself. GET /seen tells what was asked; POST /fault sets a fault ({} ends it):
{"kind": "429", "times": 2, "match": "words of a prompt", "seconds": 0.5}. Kinds: an HTTP status (with Retry-After where `seconds`
are given; `says` is its body), hang (for so many seconds, then answers), trickle (a byte now and then), garbage, html, empty,
null, cut, filter (no text), filter_text (a cut text), error (an error with status 200), error_finish, say (`says` is the text and
`finish` its finish_reason, without a model).
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

OPEN, CLOSE = "<think>", "</think>"


class Process:
    """This server in a process of its own, and how a test talks to it."""

    def __init__(self, folder: Path | str, *options: str) -> None:
        command = [sys.executable, __file__, str(folder), *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.model = Path(folder).name

    def tell(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(str(urlsplit(self.url).netloc), timeout=60)
        connection.request(method, path, json.dumps(body))
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return found

    def fault(self, kind: str = "", **how: object) -> None:
        """From now on, for `times` requests; what was seen is forgotten."""
        self.tell("POST", "/fault", {"kind": kind, **how} if kind else {})

    def seen(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.tell("GET", "/seen")["seen"]
        return found

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Refused(Exception):
    """An HTTP status and what is said with it."""


class Model:
    """A policy that completes conversations with `generate` of transformers, independently of primum's sampling."""

    def __init__(self, folder: str) -> None:
        import torch

        from primum.policy import load

        torch.set_num_threads(1)
        self.torch, self.policy = torch, load(folder, device="cpu")
        self.said: dict[tuple[Any, ...], list[int]] = {}  # what was asked before is not worked out again

    def complete(self, body: dict[str, Any]) -> tuple[str, bool, list[int], int, bool]:
        """The text, whether its prompt opened the thought, its tokens, those of the prompt, and whether it was cut."""
        model, tokenizer = self.policy.model, self.policy.tokenizer
        going_on = bool(body.get("continue_final_message"))
        try:
            rendered = tokenizer.apply_chat_template(
                body["messages"], tokenize=False, add_generation_prompt=body.get("add_generation_prompt", True),
                continue_final_message=going_on, **body.get("chat_template_kwargs", {}),
            )  # fmt: skip
        except ValueError as error:
            raise Refused(400, str(error)) from None
        opened = rendered.rstrip().endswith(OPEN) or going_on
        ids = tokenizer(rendered, add_special_tokens=False, return_tensors="pt").input_ids
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 16
        room = model.config.max_position_embeddings - ids.shape[1]
        if limit > room:
            raise Refused(400, f"maximum context length is {model.config.max_position_embeddings} tokens")
        temperature = body.get("temperature", 1.0)
        asked = (rendered, limit, temperature, body.get("seed", 0) if temperature else 0)
        if asked not in self.said:
            self.said[asked] = self.generate(ids, limit, temperature, body.get("seed", 0))
        out = self.said[asked]
        text = tokenizer.decode(out, skip_special_tokens=True)
        return text, opened, out, ids.shape[1], out[-1] not in self.policy.stops

    def generate(self, ids: Any, limit: int, temperature: float, seed: int) -> list[int]:
        draw = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        self.torch.manual_seed(seed)
        with self.torch.inference_mode():
            out = self.policy.model.generate(
                ids, attention_mask=self.torch.ones_like(ids), max_new_tokens=limit, eos_token_id=sorted(self.policy.stops),
                pad_token_id=self.policy.pad, **draw,
            )  # fmt: skip
        return out[0, ids.shape[1] :].tolist()

    def thought_tokens(self, ids: list[int]) -> int:
        close = self.policy.tokenizer.convert_tokens_to_ids(CLOSE)
        return ids.index(close) if close in ids else len(ids)


class State:
    """What the server is told and has seen; shared by the threads of its requests."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.lock, self.busy = options, threading.Lock(), threading.Lock()
        self.model: Model | None = None
        self.fault: dict[str, Any] = json.loads(options.fault)
        self.seen: list[dict[str, Any]] = []
        self.under_way: set[int] = set()  # begun anew with each fault

    def met(self, body: dict[str, Any]) -> str:
        """The kind of fault this request meets, or ""."""
        with self.lock:
            fits = self.fault and self.fault.get("match", "") in body["messages"][0]["content"]
            if not fits or not self.fault.get("times", 1):
                return ""
            self.fault["times"] = self.fault.get("times", 1) - 1
            return str(self.fault["kind"])

    def told(self) -> dict[str, Any]:
        """The answer that the fault "say" holds, without a model."""
        message = {"role": "assistant", "content": self.fault["says"]}
        return {"choices": [{"index": 0, "message": message, "finish_reason": self.fault.get("finish", "stop")}]}

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        with self.busy:
            self.model = self.model or Model(self.options.folder)
            text, opened, ids, prompt_tokens, cut = self.model.complete(body)
            thought_tokens = self.model.thought_tokens(ids)
        style = body.get("style", self.options.style)
        usage: dict[str, Any] = {"prompt_tokens": prompt_tokens, "completion_tokens": len(ids)}
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if style != "inline" and (opened or OPEN in text):  # as vLLM's and SGLang's parsers of R1 do
            thought, close, reply = text.removeprefix(OPEN).partition(CLOSE)
            message = {"role": "assistant", "content": reply if close else None, style: thought}
            usage["completion_tokens_details"] = {"reasoning_tokens": thought_tokens}
        choice = {"index": 0, "message": message, "finish_reason": "length" if cut else "stop"}
        return {"object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}


def handler_of(state: State) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = Path(state.options.folder).name
            self.say(200, {"seen": state.seen} if self.path == "/seen" else {"data": [{"id": name}]}, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/fault":
                with state.lock:
                    state.fault = body
                    state.seen.clear()
                    state.under_way = set()
                return self.say(200, {}, {})
            with state.lock:
                under_way, number = state.under_way, len(state.seen)
                under_way.add(number)
                key, when = self.headers["Authorization"], time.monotonic()
                state.seen.append({"path": self.path, "key": key, "time": when, "busy": len(under_way), **body})
            try:
                status, said, headers = self.chat(body)
            except Refused as why:
                (status, words), headers = why.args, {}
                said = {"error": {"message": words}}
            finally:
                with state.lock:
                    under_way.discard(number)
            if status:
                self.say(status, said, headers)

        def chat(self, body: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
            """Status, body and headers of the answer; status 0 where it has been written already."""
            if state.options.key and self.headers["Authorization"] != f"Bearer {state.options.key}":
                raise Refused(401, "Incorrect API key provided")
            if self.path != "/v1/chat/completions" or body["model"] != Path(state.options.folder).name:
                raise Refused(404, "The model does not exist")
            kind, seconds = state.met(body), state.fault.get("seconds", 0)
            if kind.isdigit():
                why = state.fault.get("says", {"error": {"message": "told to"}})
                return int(kind), why, {"Retry-After": str(seconds)} if seconds else {}
            if kind == "hang":
                time.sleep(seconds)
            if kind == "error":
                return 200, {"error": {"message": "upstream fell over"}}, {}
            if kind in ("garbage", "html", "cut", "trickle"):
                self.broken(kind)
                return 0, {}, {}
            said = state.told() if kind == "say" else state.answer(body)
            choice = said["choices"][0]
            if kind == "empty":
                said["choices"] = []
            if kind == "null":
                choice["message"] = {"role": "assistant", "content": None}
            if kind in ("filter", "filter_text"):
                choice["finish_reason"] = "content_filter"
                choice["message"] = {"role": "assistant", "content": choice["message"]["content"] if "_" in kind else ""}
            if kind == "error_finish":
                choice["finish_reason"] = "error"
            return 200, said, {}

        def broken(self, kind: str) -> None:
            text = {"garbage": b'{"choices": [{"mess', "html": b"<html>Bad gateway</html>"}.get(kind, b"{}")
            self.send_response(200)
            self.send_header("Content-Length", str(len(text) + (1000 if kind in ("cut", "trickle") else 0)))
            self.end_headers()
            self.wfile.write(text)
            try:
                for _ in range(1000 if kind == "trickle" else 0):
                    time.sleep(0.05)
                    self.wfile.write(b" ")
                    self.wfile.flush()
            except OSError:  # the client has hung up
                pass

        def say(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            try:
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # the client has hung up
                pass

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--style", choices=("inline", "reasoning", "reasoning_content"), default="inline")
    parser.add_argument("--key", default="", help="refuse every other")
    parser.add_argument("--fault", default="{}")
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", options.port), handler_of(State(options)))
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
