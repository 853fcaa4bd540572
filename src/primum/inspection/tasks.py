"""A suite as an Inspect task: its prompts as samples, its turns as a solver, its numbers as scores."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import HeadlineMetric
from inspect_ai.model import GenerateConfig, Model, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from primum.config import nearest, validate
from primum.evaluate import build_judge
from primum.evaluate.suites import SUITES, Suite
from primum.evaluation import EvaluationConfig, check_judge, prompts, resolved, suite_of
from primum.inspection.chat import messages_of, rollout_of
from primum.inspection.provider import PolicyAPI
from primum.inspection.refuse import refused
from primum.inspection.scores import SCORERS, TURNS, turn_to
from primum.microworld.tokenizer import speaks
from primum.types import BadInput, Example

_LOG = logging.getLogger(__name__)
MOST_FAILED = 0.1  # share of samples that may fail before the task does; each is unanswered, and scored as such


def suite_task(name: str, given: dict[str, Any], *, opens_thought: bool | None, continue_final: bool) -> Task:
    """The task of a suite. `given` are settings of `EvaluationConfig`; what the model cannot be asked is left out and counted."""
    suite, model = suite_of(name), _model()
    ours = isinstance(model.api, PolicyAPI)
    with refused():
        config = validate(EvaluationConfig, given, f"-T of {name}")
        world = config.world == "microworld" or (
            config.world == "auto" and isinstance(model.api, PolicyAPI) and speaks(model.api.policy.tokenizer)
        )
        config = resolved(config, world)
        rewards = model.api.rewards if isinstance(model.api, PolicyAPI) else []
        check_judge(build_judge(config.judge, "microworld" if world else "files"), rewards, config)
        found = prompts(suite, config, world)
    kept = [e for e in found if ours or continue_final or not e.prefill]
    if len(kept) < len(found):
        _LOG.warning(
            "%s: %d prompts begin the model's own words and are left out (see continue_final)", name, len(found) - len(kept)
        )
    sampling = config.sampling
    judge = config.judge.model_dump()
    return Task(
        dataset=MemoryDataset(samples_of(kept, begun=continue_final and not ours), name=name),
        solver=ask(name, opens_thought=opens_thought, begun=continue_final and not ours),
        scorer=SCORERS[name](world, judge, opens_thought),
        config=GenerateConfig(
            temperature=sampling.temperature, max_tokens=sampling.limit_tokens, seed=sampling.seed if ours else None,
            max_connections=model.api.max_connections() if ours else None,
        ),
        epochs=sampling.samples, fail_on_error=MOST_FAILED, score_on_error=True, description=suite.asks,
        headline_metric=HeadlineMetric(scorer=f"{name}_gold", score=next(iter(suite.metrics)), metric="primum/mean"),
        metadata={"suite": name, "world": world, "asked": len(kept), "not_asked": len(found) - len(kept)},
    )  # fmt: skip


@solver
def ask(suite: str, opens_thought: bool | None = None, begun: bool = False) -> Solver:
    """Ask the prompt, and go on with the suite's next turns as long as it has any."""
    going: Suite = SUITES[suite]

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        example: Example | None = Example.from_json(state.metadata)
        place, turns = state.epoch, []
        while example is not None:
            state.messages = messages_of(example, place - 1, begun=begun)
            turns.append(turn_to((example, None)))  # unanswered, if it fails
            if going.turn is not None:
                state.store.set(TURNS, turns)
            state = await generate(state)
            rollout = rollout_of(example, state.output, opens_thought)
            turns[-1] = turn_to((example, rollout))
            # `turn` names siblings by their place among those it is given: this one stands as the epoch's.
            following = going.turn([rollout] * place) if going.turn is not None and rollout is not None else []
            example, place = (following[-1] if following else None), 1
            if going.turn is not None:
                state.store.set(TURNS, list(turns))
        return state

    return solve


def samples_of(examples: Sequence[Example], *, begun: bool = False) -> list[Sample]:
    """Each example as a sample, whole in its metadata; an id that comes again gets a number."""
    seen: Counter[str] = Counter()
    made = []
    for e in examples:
        seen[e.id] += 1
        name = e.id if seen[e.id] == 1 else f"{e.id} ({seen[e.id]})"
        made.append(Sample(input=messages_of(e, 0, begun=begun), target=e.answer, id=name, metadata=e.to_json()))
    return made


def check_known(unknown: Mapping[str, Any], made: Callable[..., Task]) -> None:
    """Refuse parameters that a task does not have, with the nearest that it has."""
    known = [name for name, p in signature(made).parameters.items() if p.kind is not p.VAR_KEYWORD]
    for name in unknown:
        near = nearest(name, known)
        with refused():
            raise BadInput(f"no parameter '{name}'", "-T", f"did you mean '{near}'?" if near else f"there are {', '.join(known)}")


def _model() -> Model:
    """The model under test, which decides about prompts; known while Inspect makes the task."""
    try:
        model = get_model()
    except ValueError:
        with refused():
            remedy = "name the task, eval('primum/harm', model=…), so that Inspect makes it"
            raise BadInput("the task is made before its model is known", "primum", remedy) from None
    with refused():
        if model.name == "none":
            raise BadInput("no model is named", "command line", "give --model, such as primum/PATH or primum/microworld")
    return model
