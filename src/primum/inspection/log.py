"""An evaluation's results as Inspect logs, one a suite, which `inspect view` opens."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalRevision,
    EvalSample,
    EvalSpec,
    EvalStats,
    HeadlineMetric,
    recompute_metrics,
    write_eval_log,
)
from inspect_ai.log._log import EvalMetricDefinition, EvalScorer
from inspect_ai.model import GenerateConfig, ModelOutput, ModelUsage

from primum.evaluate import Measured
from primum.evaluate.measure import GOLD
from primum.evaluate.suites import Suite
from primum.evaluation import suite_of
from primum.inspection.chat import messages_of, output_of
from primum.inspection.scores import PARTS, score_of
from primum.run import read_jsonl


def write_logs(found: dict[str, Any], folder: Path) -> list[Path]:
    """`logs/SUITE.eval` beside each suite's samples, made of them and of what `evaluate` found.

    Every rollout is a sample, a later turn too. The same result gives the same log.
    """
    (folder / "logs").mkdir(exist_ok=True)
    written = []
    for name in found["suites"]:
        samples = folder / name / "samples.jsonl"
        measured = [Measured.from_row(row) for row in read_jsonl(samples)]
        when = datetime.fromtimestamp(int(samples.stat().st_mtime), UTC).isoformat()
        written.append(folder / "logs" / f"{name}.eval")
        write_eval_log(_log(suite_of(name), measured, found, when), written[-1])
    return written


def _log(suite: Suite, measured: Sequence[Measured], found: dict[str, Any], when: str) -> EvalLog:
    model = _model(found)
    samples = _samples(suite, measured, model)
    usage = sum((s.output.usage or ModelUsage() for s in samples), ModelUsage())
    stats = EvalStats(started_at=when, completed_at=when, model_usage={model: usage})
    log = EvalLog(status="success", eval=_spec(suite, samples, found, when), stats=stats, samples=samples)
    recompute_metrics(log)
    return log


def _samples(suite: Suite, measured: Sequence[Measured], model: str) -> list[EvalSample]:
    """Each rollout as a sample; siblings are epochs."""
    epochs: Counter[str] = Counter()
    made = []
    for m in measured:
        example = m.rollout.example
        epochs[example.id] += 1
        asked, silent = messages_of(example, epochs[example.id] - 1, begun=False), _unanswered(m)
        output = ModelOutput(model=model, error="unanswered") if silent else output_of(m.rollout, model)
        sample = EvalSample(
            id=example.id, epoch=epochs[example.id], input=asked, target=example.answer, metadata=example.to_json(),
            messages=asked if silent else [*asked, output.message], output=output,
            scores={f"{suite.name}_gold": score_of(suite, [m], [silent])},
            model_usage={} if output.usage is None else {model: output.usage},
            uuid=_name(suite.name, example.id, epochs[example.id]),
        )  # fmt: skip
        made.append(sample)
    return made


def _spec(suite: Suite, samples: Sequence[EvalSample], found: dict[str, Any], when: str) -> EvalSpec:
    settings, told, name = found["settings"], found["suites"][suite.name], suite.name
    given = {k: settings[k] for k in ("limit", "seed", "data", "templates", "judge")}
    sampling = {k: settings["sampling"][k] for k in ("samples", "temperature", "limit_tokens")}
    asked = {"world": "microworld" if found["world"] else "files", "sets": settings["sets"].get(name)}
    about = {key: found[key] for key in ("judge", "hashes", "environment")} | {"identity": found["model"], "primum": told}
    hashes = sorted(found["hashes"].items())
    revision, _, dirty = found["environment"]["git"].partition("-dirty")
    return EvalSpec(
        eval_id=_name("eval", name, hashes), run_id=_name("run", hashes), task_id=_name("task", name, hashes), created=when,
        task=f"primum/{name}", task_registry_name=f"primum/{name}", task_display_name=name, task_description=suite.asks,
        task_args={**given, **asked, **sampling, "sampling_seed": settings["sampling"]["seed"]},
        dataset=EvalDataset(name=name, samples=len({s.id for s in samples})), model=_model(found),
        model_base_url=found["model"].get("endpoint"), model_generate_config=_sampled(found),
        config=EvalConfig(epochs=max((s.epoch for s in samples), default=1)),
        revision=EvalRevision(type="git", origin="", commit=revision, dirty=bool(dirty)),
        packages={"primum": found["environment"]["primum"]}, metadata=about,
        scorers=[EvalScorer(name=f"{name}_gold", options={"world": found["world"], "judge": settings["judge"]},
                            metrics=_definitions(suite))],
        headline_metric=HeadlineMetric(scorer=f"{name}_gold", score=next(iter(suite.metrics)), metric="primum/mean"),
    )  # fmt: skip


def _definitions(suite: Suite) -> Any:
    """The metrics of ``scores``, as a log names them."""
    asked = {"suite": suite.name}
    numbers = {
        name: [EvalMetricDefinition(name=f"primum/{part}", options={**asked, "name": name}) for part in PARTS]
        for name in suite.metrics
    }
    return [EvalMetricDefinition(name="primum/whole", options=asked), numbers]


def _sampled(found: dict[str, Any]) -> GenerateConfig:
    sampling = found["settings"]["sampling"]
    return GenerateConfig(temperature=sampling["temperature"], max_tokens=sampling["limit_tokens"], seed=sampling["seed"])


def _model(found: dict[str, Any]) -> str:
    """As Inspect would name it; a model behind an endpoint by the name its server knows."""
    return found["settings"]["model"] if "endpoint" in found["model"] else f"primum/{found['settings']['model']}"


def _unanswered(m: Measured) -> bool:
    """Whether the rollout never came: no judge is silent about an answer in everything."""
    return not (m.rollout.thought or m.rollout.reply) and all(math.isnan(getattr(m, name)) for name in GOLD)


def _name(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:22]
