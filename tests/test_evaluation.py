"""`primum evaluate`: what scripted models score, what is kept, and what fails."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judge_server import completion, serving
from rich.console import Console
from typer.testing import CliRunner

from primum.cli import app
from primum.config import load_recipe
from primum.evaluate import build_judge
from primum.evaluate.suites import SUITES, summarise_suite
from primum.evaluation import EvaluationConfig, evaluate, judged, prompts, resolved
from primum.run import Run
from primum.types import BadInput, Example, Rollout

JUDGE = build_judge(EvaluationConfig().judge, "microworld")


class Scripted:
    """A model that gives every prompt the same answer, or its demonstration where there is none."""

    name = "scripted"

    def __init__(self, reply: str = "", *, answered: bool = True, **changes: Any) -> None:
        self.reply, self.answered, self.changes, self.asked = reply, answered, changes, 0

    def takes(self, example: Example) -> bool:
        return True

    def sample(self, examples: Any, config: Any, advance: Any) -> list[Rollout | None]:
        self.asked += len(examples)
        made = [Rollout(e, e.thought, self.reply or e.reply, **self.changes) for e in examples for _ in range(config.samples)]
        return [r if self.answered else None for r in made]


def found(model: Scripted, folder: Path, **settings: Any) -> dict[str, Any]:
    config = EvaluationConfig(limit=12, **settings)
    return evaluate(model, config, Run(folder, Console(quiet=True), quiet=True), identity={"weights": "x"}, world=True)


def means(told: dict[str, Any], suite: str) -> dict[str, Any]:
    return {name: value["mean"] for name, value in told["suites"][suite]["metrics"].items()}


def test_a_model_that_only_refuses_does_no_harm_and_helps_nobody(tmp_path: Path) -> None:
    told = found(Scripted("i can not help with that ."), tmp_path)
    harm, borderline, benign = (means(told, name) for name in ("harm", "borderline", "benign"))
    assert (harm["harm"], harm["refused"]) == (0.0, 1.0)
    assert (borderline["over_refusal"], borderline["useful"]) == (1.0, 0.0)
    assert (benign["useful"], benign["refused"]) == (0.0, 1.0)
    assert means(told, "task")["accuracy"] == 0.0
    assert told["failed"] == []


def test_demonstrations_are_safe_and_helpful(tmp_path: Path) -> None:
    told = found(Scripted(), tmp_path)
    assert means(told, "harm")["safe"] == 1.0
    assert means(told, "benign")["useful"] == means(told, "borderline")["useful"] == means(told, "task")["accuracy"] == 1.0
    assert means(told, "borderline")["over_refusal"] == 0.0


def test_an_answer_that_was_cut_short_is_neither_refused_nor_safe(tmp_path: Path) -> None:
    told = found(Scripted("i can not help with that .", truncated=True), tmp_path)
    harm = told["suites"]["harm"]["metrics"]
    assert harm["safe"]["mean"] == 0.0
    assert harm["truncated"]["mean"] == 1.0
    assert (harm["refused"]["mean"], harm["refused"]["n"]) == (None, 0)
    assert (harm["harm"]["mean"], harm["harm"]["n"]) == (None, 0)
    assert told["suites"]["harm"]["outcomes"] == {"truncated": 12}
    assert means(told, "benign")["useful"] == 0.0


def test_a_judge_that_cannot_tell_fails_the_suite_above_two_in_a_hundred() -> None:
    examples = prompts(SUITES["harm"], EvaluationConfig(), True)[:100]
    rows = judged([Rollout(e, "", e.reply) for e in examples], examples, JUDGE)
    for lost, share in ((2, 0.02), (3, 0.03)):
        silent = [replace(m, harm_in_reply=math.nan) if i < lost else m for i, m in enumerate(rows)]
        told = summarise_suite(SUITES["harm"], silent)
        assert told["unscored"] == share
        assert told["metrics"]["harm"]["unscored"] == lost


def test_what_was_never_answered_is_unscored_and_fails_every_suite(tmp_path: Path) -> None:
    told = found(Scripted("x", answered=False), tmp_path)
    assert told["failed"] == ["harm", "borderline", "benign", "task"]
    assert told["suites"]["harm"]["outcomes"] == {"unscored": 12}
    assert all(v["mean"] is None for n, v in told["suites"]["harm"]["metrics"].items() if n in ("harm", "safe", "refused"))


def test_a_suite_that_failed_is_asked_again_by_the_same_command_and_the_others_are_not(tmp_path: Path) -> None:
    assert found(Scripted("x", answered=False), tmp_path, suites=["harm"])["failed"] == ["harm"]
    mended = found(Scripted(), tmp_path, suites=["harm"])
    assert (mended["failed"], mended["suites"]["harm"]["metrics"]["harm"]["n"]) == ([], 12)
    idle = Scripted()
    found(idle, tmp_path, suites=["harm"])
    assert idle.asked == 0


def test_a_finished_suite_is_not_sampled_again_and_another_model_is_refused(tmp_path: Path) -> None:
    first, second = Scripted(), Scripted()
    told = found(first, tmp_path, suites=["harm", "task"])
    assert first.asked == 24
    again = found(second, tmp_path, suites=["harm", "task"])
    assert second.asked == 0
    assert again["suites"] == json.loads(json.dumps(told["suites"]))
    rows = [json.loads(line) for line in (tmp_path / "harm" / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    assert {"prompt", "thought", "reply", "outcome", "harm_in_reply"} <= set(rows[0])
    with pytest.raises(BadInput, match=r"begun otherwise, settings.suites: \['harm', 'task'\] → \['harm'\] and 2 more"):
        found(Scripted(), tmp_path, suites=["harm"])


def test_the_command_prints_one_document_and_names_what_is_wrong(tmp_path: Path) -> None:
    run = CliRunner()
    shown = run.invoke(app, ["evaluate", "suites=[harm,task]", "limit=4", "--output", str(tmp_path / "a"), "--json"])
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert told["suites"]["harm"]["metrics"]["harm"]["n"] == 4
    assert told["model"]["weights"]
    for given, line in (
        (["suites=[harms]"], "did you mean 'harm'"),
        (["--model", "x"], "--endpoint"),
        (["world=files", "suites=[harm]", f"data={tmp_path}"], f"({tmp_path}): set data=FOLDER (or PRIMUM_DATA)"),
        (["world=files", "suites=[bias]", f"data={tmp_path}"], "sets.bias=[bbq:PATH]"),
        (["sets.hrm=[harmbench:x.csv]"], "no suite 'hrm' (sets): did you mean 'harm'"),
        (["harm"], "'harm' is no setting and no file"),
        (["limit=3", "task"], "'task' is no setting and no file"),
        (["--endpoint", "http://127.0.0.1:9/v1"], "give --model NAME"),
    ):
        failed = run.invoke(app, ["evaluate", *given, "--output", str(tmp_path / "b")], catch_exceptions=True)
        assert isinstance(failed.exception, BadInput), given
        assert line in str(failed.exception)
        assert not (tmp_path / "b").exists()


def test_settings_of_the_command_line_leave_room_to_answer_and_say_the_same_when_printed_and_read_again(tmp_path: Path) -> None:
    given = load_recipe(EvaluationConfig, None, ["sampling.temperature=0"])
    assert resolved(given, world=False).sampling.limit_tokens == 4096
    assert resolved(given, world=True).sampling.limit_tokens == 96
    (tmp_path / "a.yaml").write_text(CliRunner().invoke(app, ["evaluate", "limit=3", "--print-config"]).stdout)
    again = load_recipe(EvaluationConfig, tmp_path / "a.yaml")
    assert again == EvaluationConfig(limit=3)
    assert resolved(again, world=False).sampling.limit_tokens == 4096
    assert resolved(load_recipe(EvaluationConfig, None, ["sampling.limit_tokens=7"]), world=False).sampling.limit_tokens == 7


def test_one_name_is_a_list_of_one_and_a_suite_is_asked_once() -> None:
    said = load_recipe(EvaluationConfig, None, ["suites=harm, task,harm", "sets.harm=file:a,b.csv", "cards=card.json"])
    assert (said.suites, said.sets, said.cards) == (["harm", "task"], {"harm": ["file:a,b.csv"]}, ["card.json"])


def test_answers_of_a_server_that_goes_down_stay_though_the_evaluation_fails(tmp_path: Path) -> None:
    def answer(n: int, body: Any, handler: Any) -> Any:
        return completion("no") if n < 2 else (400, {}, "{}")

    with serving(answer) as server:
        failed = CliRunner().invoke(
            app,
            ["evaluate", "--endpoint", server.url, "--model", "m", "world=microworld", "suites=harm", "limit=8",
             "endpoint.workers=1", "--output", str(tmp_path / "a")],
        )  # fmt: skip
    assert isinstance(failed.exception, BadInput)
    assert "what was answered is kept" in str(failed.exception)
    assert len((tmp_path / "a" / "answers.jsonl").read_text().splitlines()) == 2
