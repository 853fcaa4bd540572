"""What Inspect finds by its entry point: a task for every suite, and the model provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inspect_ai import Task, task
from inspect_ai.model import ModelAPI, modelapi

from primum.evaluate import EvaluateConfig
from primum.evaluate.suites import SUITES
from primum.evaluation import EvaluationConfig
from primum.inspection import scores, tasks  # noqa: F401  registers scorer, metrics and solver

_USUAL, _SAMPLED = EvaluationConfig(), EvaluateConfig()


@modelapi(name="primum")
def primum() -> type[ModelAPI]:
    """A policy in this process."""
    from primum.inspection.provider import PolicyAPI

    return PolicyAPI


def _task(suite: str) -> Callable[..., Task]:
    def made(
        limit: int = 0, seed: int = _USUAL.seed, world: str = _USUAL.world, sets: str | list[str] | None = None,
        data: str = _USUAL.data, templates: str = "", samples: int = _SAMPLED.samples, temperature: float = _SAMPLED.temperature,
        limit_tokens: int | None = None, sampling_seed: int = _SAMPLED.seed, judge: str | dict[str, Any] = "auto",
        opens_thought: bool | None = None, continue_final: bool = False, **unknown: Any,
    ) -> Task:  # fmt: skip
        tasks.check_known(unknown, made)
        named = {suite: [sets] if isinstance(sets, str) else list(sets)} if sets else {}
        sampling = {"samples": samples, "temperature": temperature, "seed": sampling_seed}
        if limit_tokens is not None:
            sampling["limit_tokens"] = limit_tokens
        given = {
            "limit": limit, "seed": seed, "world": world, "sets": named, "data": data, "templates": templates,
            "sampling": sampling, "judge": {"harm": judge} if isinstance(judge, str) else judge,
        }  # fmt: skip
        return tasks.suite_task(
            suite, given, opens_thought=opens_thought, continue_final=continue_final
        )  # fmt: skip

    made.__name__, made.__doc__ = suite, SUITES[suite].asks
    return made


TASKS = {name: task(name=name)(_task(name)) for name in SUITES}
