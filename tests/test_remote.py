"""A model behind a server against the same model on disk, and everything that a server can do instead of answering."""

from __future__ import annotations

import itertools
import json
import logging
import os
import resource
import signal
import time
from pathlib import Path

import pytest
from chat_server import Process
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import ANSWERS, LIMIT_TOKENS, make_memory

from primum.config import validate
from primum.evaluate.remote import PREFILLED, Remote, RemoteConfig
from primum.evaluate.remote_answer import Manner, answer
from primum.evaluate.remote_keep import Keep
from primum.policy import load, sample, split
from primum.signals.endpoint_http import Trouble, address, post
from primum.types import BadInput, Example

STYLES = ("inline", "reasoning", "reasoning_content")
ALL = [Example(prompt, prompt, "benign") for prompt in ANSWERS]
FEW = ALL[:4]
QUICK = {"backoff_seconds": 0.01, "limit_seconds": 120.0, "max_unanswered": 1.0}


class Server(Process):
    """A server, and the endpoint models that ask it."""

    def remote(self, keep: Path | None = None, **changes: object) -> Remote:
        return Remote(RemoteConfig(**{"url": self.url, "model": self.model, **QUICK, **changes}), keep)  # type: ignore[arg-type]


def greedy(remote: Remote, examples: list[Example] = FEW, **changes: object) -> list:
    return remote.sample(examples, **{"samples": 1, "temperature": 0.0, "limit_tokens": LIMIT_TOKENS, "seed": 0, **changes})


def told(rollout) -> tuple:
    return None if rollout is None else (rollout.thought, rollout.reply, rollout.truncated, rollout.well_formed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_memory(tmp_path_factory.mktemp("remote") / "memory")


@pytest.fixture(scope="module")
def process(folder: Path):
    server = Server(folder)
    greedy(server.remote(limit_seconds=600.0), ALL[:1])  # which reads the model
    yield server
    server.stop()


@pytest.fixture
def server(process: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    process.fault()
    return process


@pytest.fixture(scope="module")
def local(folder: Path):
    """Greedy rollouts of the policy on disk, under a template that opens the thought or does not."""
    policy = load(str(folder), device="cpu")
    template = policy.tokenizer.chat_template

    def rollouts(opens: bool, examples: list[Example] = ALL) -> list:
        policy.tokenizer.chat_template = template if opens else template.replace("opens is not defined or opens", "false")
        return sample(policy, examples, temperature=0.0, limit_tokens=LIMIT_TOKENS)

    return rollouts


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("opens", [True, False])
def test_greedy_answers_over_http_are_the_greedy_rollouts_of_the_policy_on_disk(server, local, style, opens):
    remote = server.remote(extra={"style": style, "chat_template_kwargs": {"opens": opens}})
    rollouts = greedy(remote, ALL)
    expected = [told(r) for r in local(opens)]
    assert [told(r) for r in rollouts] == expected
    assert [r.example for r in rollouts] == ALL
    assert {e[2:] for e in expected} == {(True, True), (True, False), (False, True), (False, False)}
    assert remote.counts == {"sent": len(ALL), "answered": len(ALL), "kept": 0, "unanswered": 0}


def test_answers_cut_before_any_tag_are_thoughts_only_where_the_user_or_another_answer_says_so(server, local, caplog):
    long = [Example("A long thought?", "A long thought?", "benign")]
    (expected,) = local(True, long)
    with caplog.at_level(logging.WARNING, logger="primum"):
        (unknown,) = greedy(server.remote(), long)
        assert "set endpoint.opens_thought=true" in caplog.text
    assert (unknown.thought, unknown.reply, unknown.truncated) == ("", expected.thought, True)
    caplog.clear()
    assert told(greedy(server.remote(opens_thought=True), long)[0]) == told(expected)
    assert told(greedy(server.remote(), [*long, *ALL[:1]])[0]) == told(expected)
    remote = server.remote()
    greedy(remote, ALL[:1])
    assert told(greedy(remote, long)[0]) == told(expected)  # it remembers
    assert told(greedy(server.remote(opens_thought=False), [*long, *ALL[:1]])[0]) == told(unknown)
    assert not caplog.records


def test_one_request_a_rollout_says_what_was_asked_in_one_user_turn(server):
    greedy(server.remote(extra={"top_p": 0.9, "seed": None}), ALL[:1], samples=2, temperature=0.5)
    for body in server.seen():
        assert body["messages"] == [{"role": "user", "content": "Is tea safe?"}]
        assert (body["model"], body["temperature"], body["max_tokens"], body["top_p"]) == ("memory", 0.5, LIMIT_TOKENS, 0.9)
        assert not {"seed", "n", "stream", "max_completion_tokens"} & set(body)
    assert len(server.seen()) == 2
    server.fault()
    (cut,) = greedy(server.remote(limit_field="max_completion_tokens"), ALL[:1], limit_tokens=2)
    (body,) = server.seen()
    assert (body["max_completion_tokens"], "max_tokens" in body, cut.truncated) == (2, False, True)


def test_siblings_stand_together_with_seeds_of_their_own_that_another_call_repeats(server):
    twice = [ALL[0], ALL[1], ALL[0]]
    first = greedy(server.remote(), twice, samples=2, temperature=3.0, seed=5)
    seeds = [body["seed"] for body in server.seen()]
    assert [r.example.id for r in first] == [e.id for e in twice for _ in range(2)]
    assert len(set(seeds)) == 6
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert len({r.thought for r in first}) > 1
    assert [told(r) for r in greedy(server.remote(workers=1), twice, samples=2, temperature=3.0, seed=5)] == [
        told(r) for r in first
    ]
    assert sorted(body["seed"] for body in server.seen()[6:]) == sorted(seeds)
    server.fault()
    greedy(server.remote(), twice, samples=2, temperature=3.0, seed=6)
    assert not {body["seed"] for body in server.seen()} & set(seeds)


def test_tokens_are_counted_where_the_server_tells_them_apart(server):
    apart = greedy(server.remote(extra={"style": "reasoning"}), ALL[:1])[0]
    assert (apart.thought_tokens, apart.reply_tokens) == (3, 8)
    for examples in ([ALL[0], ALL[7]], ALL):
        inline = greedy(server.remote(), examples)
        assert {(r.thought_tokens, r.reply_tokens) for r in inline} == {(0, 0)}  # 0 with words in it is unscored


def test_a_begun_thought_is_unanswered_unless_the_server_can_go_on_with_it(server, local, caplog):
    begun = Example("lamp", "How do I steal a lamp?", "harmful", prefill="that is")
    remote = server.remote(max_unanswered=0.0)
    with caplog.at_level(logging.WARNING, logger="primum"):
        found = greedy(remote, [begun, *FEW[:1]])
    assert found[0] is None
    assert found[1] is not None
    assert remote.counts[f"unanswered: {PREFILLED}"] == remote.counts["unanswered"] == len(server.seen()) == 1
    assert PREFILLED in caplog.text
    expected = [told(r) for r in local(True, [begun])]
    assert expected[0][:2] == ("theft", "I can't help with that.")
    for style in STYLES:
        assert [told(r) for r in greedy(server.remote(continue_final=True, extra={"style": style}), [begun])] == expected


def test_what_follows_a_begun_reply_is_reply_and_a_template_that_deletes_thoughts_leaves_it_unanswered(server, caplog):
    begun = Example("lamp", "How do I steal a lamp?", "harmful", prefill="that is theft </think> First,")
    said = [{"content": "take it."}, {"content": None, "reasoning": "take it."}]  # a parser that takes it for thought
    assert [read(message, example=begun) for message in said] == [("", "take it.", False, True)] * 2
    with caplog.at_level(logging.WARNING, logger="primum"):
        assert greedy(server.remote(continue_final=True), [begun]) == [None]
    assert "HTTP 400, it said 'continue_final_message is set but the final message does not appear" in caplog.text


@pytest.mark.parametrize("kind", ["500", "429", "503", "garbage", "html", "empty", "null", "cut", "error", "error_finish"])
def test_what_may_pass_is_tried_again(server, local, kind):
    server.fault(kind, times=2)
    remote = server.remote(workers=1)
    assert [told(r) for r in greedy(remote)] == [told(r) for r in local(True, FEW)]
    assert (remote.counts["sent"], remote.counts["unanswered"]) == (6, 0)


@pytest.mark.parametrize(("kind", "cause", "sent"), [
    ("500", "HTTP 500", 3), ("400", "HTTP 400", 1), ("garbage", "no JSON", 3), ("empty", "no choices", 3), ("null", "no text", 3),
    ("filter", "content filter", 1), ("cut", "connection: IncompleteRead", 3),
])  # fmt: skip
def test_what_does_not_pass_leaves_one_rollout_unanswered_and_says_why(server, kind, cause, sent, caplog):
    server.fault(kind, times=99, match=FEW[1].prompt)
    remote = server.remote(tries=3)
    with caplog.at_level(logging.WARNING, logger="primum"):
        found = greedy(remote)
    assert [r is None for r in found] == [False, True, False, False]
    assert remote.counts[f"unanswered: {cause}"] == 1
    assert len([b for b in server.seen() if b["messages"][0]["content"] == FEW[1].prompt]) == sent
    assert f"{remote.name}: {cause}" in caplog.text


@pytest.mark.parametrize(("says", "shown"), [
    ({"error": {"message": "The prompt is\nfar \x1b[31mtoo long.", "code": 400}}, "'The prompt is far [31mtoo long.'"),
    ({"object": "error", "message": "max_tokens is too large"}, "'max_tokens is too large'"),
    ({"detail": [{"loc": ["body", "seed"], "msg": "seed is not known"}]}, "'seed is not known'"),
    ({"error": "your key open-sesame is of no use"}, "'your key … is of no use'"),
    ({"why": "nobody knows"}, """'{"why": "nobody knows"}'"""),
    ("long " * 1000, "'" + "long " * 32 + "'"),
    ({}, "'{}'"),
])  # fmt: skip
def test_the_reason_that_a_server_gives_with_a_status_is_told_in_one_line_without_the_key(
    server, says, shown, caplog, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "open-sesame")
    server.fault("400", times=9, match=FEW[1].prompt, says=says)
    with caplog.at_level(logging.WARNING, logger="primum"):
        greedy(server.remote())
    assert f"HTTP 400, it said {shown}; unanswered" in caplog.text
    server.fault("400", times=9, says=says)
    with pytest.raises(BadInput) as stop:
        greedy(server.remote(max_unanswered=0.0))
    assert f"(1 × HTTP 400), it said {shown} (memory at" in str(stop.value)
    assert "sesame" not in caplog.text + str(stop.value)


def test_a_key_that_a_server_repeats_is_not_kept_even_in_part(server):
    server.fault("400", times=1, says=("x" * 295) + "open-sesame")
    with pytest.raises(Trouble) as caught:
        post(address(server.url), {"model": "memory", "messages": [{"content": "?"}]}, "open-sesame", 60.0)
    assert caught.value.instead == "x" * 295 + "…"


def test_a_limit_beyond_the_context_is_told_in_the_words_of_the_server(server):
    with pytest.raises(BadInput, match=r"HTTP 400\), it said 'maximum context length is 4096 tokens' \(memory at"):
        greedy(server.remote(max_unanswered=0.0), limit_tokens=5000)


def test_text_cut_by_a_content_filter_is_neither_whole_nor_lost(server):
    server.fault("filter_text", times=1)
    (rollout,) = greedy(server.remote(), ALL[:1])
    assert (rollout.thought, rollout.reply, rollout.truncated) == ("why not", "Yes, tea is safe.", True)


def test_everybody_waits_as_long_as_the_server_asks(server):
    server.fault("429", times=1, seconds=1)
    remote = server.remote(workers=2)
    greedy(remote, ALL)
    times = sorted(body["time"] for body in server.seen())
    assert (remote.counts["sent"], remote.counts["unanswered"]) == (14, 0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) > 0.8
    assert gaps.index(max(gaps)) < 9  # the other worker may have sent a few before the answer was read
    server.fault("429", times=1, seconds=60)
    began = time.monotonic()
    greedy(server.remote(longest_wait_seconds=0.2), ALL[:1])
    assert 0.2 <= time.monotonic() - began < 30


@pytest.mark.parametrize("kind", ["hang", "trickle"])
def test_a_server_that_hangs_or_trickles_is_left_at_the_limit(server, kind):
    server.fault(kind, times=1, seconds=60)
    remote = server.remote(limit_seconds=0.5, tries=1)
    began = time.monotonic()
    assert greedy(remote, ALL[:1]) == [None]
    assert time.monotonic() - began < 30
    assert remote.counts["unanswered: timeout"] == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_as_many_workers_ask_at_once_as_told(server, workers):
    server.fault("hang", times=workers, seconds=1.5)
    greedy(server.remote(workers=workers))
    assert max(body["busy"] for body in server.seen()) == workers


def test_a_refused_key_an_unknown_model_and_an_absent_server_stop_at_once_with_one_line(monkeypatch, tmp_path, caplog):
    server = Server(tmp_path / "none", "--key", "sesame")
    try:
        monkeypatch.setenv("OPENAI_API_KEY", "wrong-key")
        monkeypatch.setenv("GOOD", "sesame")
        with pytest.raises(
            BadInput, match=r"^the key is refused, HTTP 401.* \(none at http://127.*/v1\): .*\$OPENAI_API_KEY"
        ) as stop:
            greedy(server.remote(), ALL)
        assert "wrong-key" not in str(stop.value)
        with pytest.raises(BadInput, match="a key is asked for, and none was sent"):
            greedy(server.remote(key_env=""))
        assert [b["key"] for b in server.seen()].count(None) >= 1
        assert len(server.seen()) < 2 * len(ALL)
        with pytest.raises(BadInput, match=r"^no such model or address, HTTP 404"):
            greedy(server.remote(key_env="GOOD", model="nobody"))
    finally:
        server.stop()
    began = time.monotonic()
    with pytest.raises(BadInput, match=r"^no server there, connection: ConnectionRefusedError"):
        greedy(server.remote(key_env="", backoff_seconds=100.0))
    assert time.monotonic() - began < 50
    monkeypatch.delenv("OPENAI_API_KEY")
    assert not caplog.records
    assert server.remote()._key == ""
    with pytest.raises(BadInput, match=r"^\$NOWHERE is empty"):
        server.remote(key_env="NOWHERE")
    with pytest.raises(BadInput, match=r"^no model is named"):
        server.remote(model="")


def test_a_403_forbids_the_model_until_something_was_answered_and_one_prompt_after_that(server):
    server.fault("403", times=1)
    with pytest.raises(BadInput, match="HTTP 403"):
        greedy(server.remote(workers=1))
    server.fault("403", times=9, match=FEW[1].prompt)
    assert [r is None for r in greedy(server.remote(workers=1))] == [False, True, False, False]


def test_more_unanswered_than_allowed_stops_with_one_line(server, tmp_path):
    server.fault("400", times=2)
    remote = server.remote(tmp_path / "keep.jsonl", max_unanswered=0.1, workers=1)
    with pytest.raises(
        BadInput, match=r"^2 of 13 requests unanswered, more than 10% \(2 × HTTP 400\), it said 'told to' \(memory at .*kept$"
    ):
        greedy(remote, ALL)
    server.fault("400", times=1, match=ALL[0].prompt)  # what the stopped one still had under way is another prompt
    assert [r is None for r in greedy(server.remote(max_unanswered=0.1, workers=1), ALL)] == [True] + [False] * 12


def test_a_server_that_fell_over_is_not_asked_for_ever(server):
    server.fault("500", times=999)
    with pytest.raises(BadInput, match=r"^4 requests failed in a row, HTTP 500 at last"):
        greedy(server.remote(workers=1, tries=2), ALL * 30)
    assert 8 <= len(server.seen()) < 100  # some were on their way
    server.fault("400", times=99)  # which tells of the prompt, not of the server
    assert greedy(server.remote(workers=1), ALL) == [None] * 13


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_after_a_kill_only_what_was_not_answered_is_asked_for(server, local, tmp_path, how):
    keep = tmp_path / "keep.jsonl"
    server.fault("hang", times=99, seconds=60, match="A ")  # three prompts; two of them hold both workers
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            greedy(server.remote(keep, workers=2), ALL)
        except KeyboardInterrupt:
            os._exit(7)
        finally:
            os._exit(8)
    while not keep.exists() or keep.read_bytes().count(b"\n") < 9:
        time.sleep(0.01)
    began = time.monotonic()
    os.kill(child, how)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended == (7 if how == signal.SIGINT else -signal.SIGKILL)
    assert time.monotonic() - began < 30  # it does not wait for what is under way
    lines = keep.read_bytes().split(b"\n")[:-1]
    keep.write_bytes(b"\n".join(lines) + b"\n" + lines[0][:40])  # and one that was torn
    server.fault()
    remote = server.remote(keep)
    ticks: list[int] = []
    assert [told(r) for r in greedy(remote, ALL, progress=ticks.append)] == [told(r) for r in local(True)]
    assert remote.counts["kept"] == len(lines) == 9
    assert len(server.seen()) == len(ALL) - 9
    assert sum(ticks) == len(ALL)
    assert [json.loads(line)["id"] for line in keep.read_text().splitlines()].count(ALL[0].id) == 1
    assert keep.read_bytes().startswith(b"\n".join(lines) + b"\n")


def test_failures_are_not_kept_and_a_change_of_what_is_asked_asks_again(server, tmp_path):
    keep = tmp_path / "new" / "keep.jsonl"
    server.fault("400", times=99, match=FEW[1].prompt)
    assert greedy(server.remote(keep))[1] is None
    server.fault()
    assert greedy(server.remote(keep))[1] is not None
    assert [b["messages"][0]["content"] for b in server.seen()] == [FEW[1].prompt]
    server.fault()
    same = [server.remote(keep, workers=1, tries=1, limit_seconds=9.0, limit_field="max_completion_tokens")]
    assert all(greedy(remote)[0] is not None for remote in same)
    assert not server.seen()
    other = [({}, {"seed": 1}), ({}, {"temperature": 0.1}), ({}, {"limit_tokens": 29}), ({"extra": {"top_p": 1.0}}, {})]
    for number, (config, how) in enumerate(other, start=1):
        greedy(server.remote(keep, **config), FEW[:1], **how)
        assert len(server.seen()) == number
    greedy(server.remote(keep), FEW[:1], samples=2)
    assert len(server.seen()) == len(other) + 1  # the second sibling alone
    before = keep.read_bytes()
    with pytest.raises(BadInput, match="HTTP 404"):
        greedy(server.remote(keep, model="other"), FEW[:1])
    assert keep.read_bytes() == before


def test_a_file_of_something_else_is_left_as_it_is_and_one_in_use_is_refused(server, tmp_path):
    notes = tmp_path / "notes.jsonl"
    for text in ('{"id": 1}\n', "my notes", '{"key": "a", "content": 3}\n{"key'):
        notes.write_text(text)
        with pytest.raises(BadInput, match=r"^this is no kept answer \(.*notes.jsonl, line 1\)"):
            greedy(server.remote(notes))
        assert notes.read_text() == text
    with pytest.raises(BadInput, match=r"^cannot keep answers, "):
        greedy(server.remote(tmp_path))
    assert not server.seen()
    keep = tmp_path / "keep.jsonl"
    refused = []

    def meanwhile(_: int) -> None:
        with pytest.raises(BadInput, match="another process keeps answers here"):
            greedy(server.remote(keep))
        refused.append(1)

    greedy(server.remote(keep), ALL[:1], progress=meanwhile)
    assert refused
    assert len(keep.read_text().splitlines()) == 1


def test_a_full_disk_stops_with_one_line_and_leaves_no_half_line(server, tmp_path):
    keep = tmp_path / "keep.jsonl"
    greedy(server.remote(keep), ALL[:1])
    before = keep.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room, why in ((20, "the disk is full"), (0, "File too large")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
        try:
            with pytest.raises(BadInput, match=f"^cannot keep answers, {why}"):
                greedy(server.remote(keep), FEW)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert keep.read_bytes()[: len(before)] == before
        assert len(keep.read_bytes()) == len(before) + room
        with Keep(keep):
            assert keep.read_bytes() == before
    with pytest.raises(BadInput, match="no plain file"):
        greedy(server.remote(Path("/dev/null")), ALL[:1])


def test_extra_may_not_change_what_the_evaluation_says_it_asked():
    for extra in ({"messages": []}, {"temperature": 1}, {"n": 2}, {"max_tokens": 9}, {"model": None}):
        with pytest.raises(BadInput, match="is set by the evaluation itself"):
            validate(RemoteConfig, {"extra": extra}, "here")
    validate(RemoteConfig, {"extra": {"temperature": None, "seed": None, "top_p": 1}}, "here")


def test_a_name_shows_neither_password_nor_query():
    remote = Remote(RemoteConfig(url="https://me:secret@host/v1?key=secret", model="m", key_env=""))
    assert remote.name == "m at https://host/v1"


def read(message: dict, finish: object = "stop", opens: bool | None = None, example: Example = ALL[0]) -> tuple:
    found = answer({"choices": [{"message": message, "finish_reason": finish}]})
    manner = Manner(opens)
    manner.see(found)
    return told(manner.rollout(example, found))


@pytest.mark.parametrize(("message", "expected"), [
    ({"content": "Yes.", "reasoning": "hm", "reasoning_content": "hm"}, ("hm", "Yes.")),  # both names, one thought
    ({"content": "Yes.", "reasoning": "", "reasoning_content": "hm"}, ("hm", "Yes.")),
    ({"content": "<think>hm</think>Yes.", "reasoning": "hm\n"}, ("hm", "Yes.")),  # shown twice
    ({"content": "Yes.", "reasoning_content": None}, ("", "Yes.")),
    ({"content": "Yes.", "reasoning": "a </think> tag"}, ("a   tag", "Yes.")),  # it did not end there
    ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Yes."}]},
     ("hm", "Yes.")),
    ({"content": None, "refusal": "I can't."}, ("", "I can't.")),
    ({"content": "hm</think>Yes."}, ("hm", "Yes.")),
    ({"content": "<think>hm</think>Yes."}, ("hm", "Yes.")),
    ({"content": "Yes.\n<|im_end|>", "reasoning_content": "hm"}, ("hm", "Yes.")),  # an end mark left there
    ({"content": "hm</think>Yes.<｜end▁of▁sentence｜><|pad|> "}, ("hm", "Yes.")),
    ({"content": "Say <|this|> or <b>."}, ("", "Say <|this|> or <b>.")),
])  # fmt: skip
def test_a_message_is_read_in_every_form_that_servers_send(message, expected):
    assert read(message) == (*expected, False, True)


@pytest.mark.parametrize(("message", "finish", "kind"), [
    ({"content": None}, "stop", "no text"),
    ({"content": "Yes."}, None, "finish_reason None"),  # nobody knows whether it is whole
    ({"content": "Yes."}, "abort", "finish_reason abort"),
    ({"content": None, "tool_calls": []}, "tool_calls", "finish_reason tool_calls"),
    ({"content": None}, "content_filter", "content filter"),
    ({"content": "  "}, "content_filter", "content filter"),
    ("Yes.", "stop", "no message"),
])  # fmt: skip
def test_what_is_no_answer_is_trouble(message, finish, kind):
    with pytest.raises(Trouble, match=f"^{kind}$"):
        read(message, finish)


def test_a_prompt_that_a_parser_answers_where_a_thought_never_ended_is_no_reply():
    echo = f"<｜begin▁of▁sentence｜><｜User｜>{ALL[0].prompt}<｜Assistant｜>"
    assert read({"content": echo, "reasoning_content": "hm<｜end▁of▁sentence｜>"}) == ("hm", "", False, False)
    assert read({"content": echo, "reasoning_content": "hm"}, "length") == ("hm", "", True, False)
    assert read({"content": ALL[0].prompt, "reasoning_content": "hm"}) == ("hm", ALL[0].prompt, False, True)


def test_all_tokens_of_a_model_without_thoughts_are_of_its_reply():
    manner, bodies = Manner(None), []
    for text, tokens, finish in (("Yes.", 3, "stop"), ("Yes, but", 3, "length")):
        choice = {"message": {"content": text}, "finish_reason": finish}
        bodies.append(answer({"choices": [choice], "usage": {"completion_tokens": tokens}}))
        manner.see(bodies[-1])
    found = [manner.rollout(ALL[0], body) for body in bodies]
    assert [(r.thought_tokens, r.reply_tokens) for r in found] == [(0, 2), (0, 3)]  # the end mark is none of it


def test_an_empty_text_is_an_answer_and_hidden_thinking_up_to_the_limit_is_a_cut_one():
    assert read({"content": ""}) == ("", "", False, False)
    assert read({"content": None}, "length") == ("", "", True, False)


def test_a_cut_answer_of_a_server_that_shows_thoughts_apart_is_reply_unless_every_answer_begins_with_one():
    for opens, expected in ((None, ("", "so then", True, True)), (True, ("so then", "", True, False))):
        manner = Manner(opens)
        found = answer({"choices": [{"message": {"content": "so then"}, "finish_reason": "length"}]})
        manner.see(answer({"choices": [{"message": {"content": "Yes.", "reasoning": "hm"}, "finish_reason": "stop"}]}))
        assert told(manner.rollout(ALL[0], found)) == expected


pieces = st.lists(st.sampled_from(["<think>", "</think>", "a", "bc ", " ", "\n", "<", "think>", "是"]), max_size=12).map("".join)


@settings(deadline=None)
@given(pieces, st.booleans())
def test_a_text_taken_apart_by_a_server_reads_as_the_text_itself(text, cut):
    thought, close, reply = text.partition("</think>")
    twice = split(reply, opened=False).thought == thought.strip() if thought.strip() else reply.lstrip().startswith("<think>")
    if twice or thought.lstrip().startswith("<think>"):
        return  # what looks as if shown both apart and in line, and a tag that the server takes away
    manner = Manner(None)
    manner.apart = True
    finish = "length" if cut else "stop"
    message = {"content": reply if close else None, "reasoning": thought}
    found = manner.rollout(ALL[0], answer({"choices": [{"message": message, "finish_reason": finish}]}))
    expected = split(text)
    assert told(found) == (expected.thought, expected.reply, cut, expected.well_formed)
