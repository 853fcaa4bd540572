"""A task's name says what it is, and the order puts needs first."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primum.study import Task, order
from primum.study.graph import dependants

BASE = Task("m:base", {"seed": 1})


def test_the_digest_is_the_hash_of_function_settings_and_needs_by_role() -> None:
    text = '{"does": "m:base", "needs": {}, "settings": {"a": 0.5, "b": [1, 2]}}'
    base = Task("m:base", {"b": (1, 2), "a": 0.5})
    assert base.digest == hashlib.sha256(text.encode()).hexdigest()[:16]
    above = f'{{"does": "m:rl", "needs": {{"policy": "{base.digest}"}}, "settings": {{}}}}'
    arm = Task("m:rl", {}, {"policy": base})
    assert arm.digest == hashlib.sha256(above.encode()).hexdigest()[:16]
    assert arm.name == f"rl-{arm.digest}"


@pytest.mark.parametrize(
    "other",
    [
        Task("m:rl", {"seed": 2}, {"policy": BASE}),
        Task("m:rl2", {"seed": 1}, {"policy": BASE}),
        Task("n:rl", {"seed": 1}, {"policy": BASE}),
        Task("m:rl", {"seed": 1}, {"reference": BASE}),
        Task("m:rl", {"seed": 1}, {"policy": Task("m:base", {"seed": 2})}),
        Task("m:rl", {"seed": 1}),
        Task("m:rl", {"seed": 1, "steps": None}, {"policy": BASE}),
    ],
)
def test_whatever_changes_the_result_changes_the_digest(other: Task) -> None:
    assert other.digest != Task("m:rl", {"seed": 1}, {"policy": BASE}).digest


def test_a_label_and_resources_leave_the_digest_and_equal_tasks_are_one() -> None:
    again = Task("m:base", {"seed": 1}, label="the base model", gpus=1)
    assert again.digest == BASE.digest
    assert order([again, BASE]) == [again]
    assert (again.called, BASE.called) == ("the base model", BASE.name)


def test_settings_changed_afterwards_change_nothing() -> None:
    settings: dict[str, Any] = {"sizes": [1]}
    task = Task("m:base", settings)
    settings["sizes"].append(2)
    assert task.settings == {"sizes": [1]}
    assert task.digest == Task("m:base", {"sizes": [1]}).digest


@pytest.mark.parametrize(
    ("does", "settings", "gpus"),
    [
        ("m.base", {}, 0),
        ("m:", {}, 0),
        (":base", {}, 0),
        ("m:a.b", {}, 0),
        ("m:base", {"x": float("nan")}, 0),
        ("m:base", {"x": object()}, 0),
        ("m:base", {}, -1),
        ("m:base", {}, float("nan")),
    ],
)
def test_what_can_be_no_task_is_refused(does: str, settings: dict[str, Any], gpus: float) -> None:
    with pytest.raises((ValueError, TypeError)):
        Task(does, settings, gpus=gpus)


def test_all_that_need_a_task_are_counted_once() -> None:
    left, right = (Task(f"m:{side}", {}, {"policy": BASE}) for side in ("left", "right"))
    top = Task("m:top", {}, {"a": left, "b": right, "c": BASE})
    assert [dependants(order([top]))[task.digest] for task in (BASE, left, right, top)] == [3, 1, 1, 0]


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    """Tasks each of which needs some of those before it, some equal to others, and a shuffled choice of them."""
    tasks: list[Task] = []
    for _ in range(draw(st.integers(1, 12))):
        needs = draw(st.lists(st.sampled_from(tasks), max_size=3)) if tasks else []
        seed = draw(st.integers(0, 3))
        tasks.append(Task("m:f", {"seed": seed}, {f"r{i}": need for i, need in enumerate(needs)}))
    return draw(st.lists(st.sampled_from(tasks), min_size=1))


@given(graphs())
def test_the_order_holds_each_task_once_and_needs_first(wanted: list[Task]) -> None:
    found = [task.digest for task in order(wanted)]
    closure: dict[str, set[str]] = {}
    stack = list(wanted)
    while stack:
        task = stack.pop()
        closure[task.digest] = {need.digest for need in task.needs.values()}
        stack += task.needs.values()
    assert len(found) == len(set(found))
    assert set(found) == set(closure)
    assert all(found.index(need) < found.index(digest) for digest, needs in closure.items() for need in needs)
    assert found == [task.digest for task in order(order(wanted))]
    counts = dependants(order(wanted))
    reach = {d: {n for n in closure if d in _above(n, closure)} for d in closure}
    assert counts == {digest: len(above) for digest, above in reach.items()}


def _above(digest: str, needs: dict[str, set[str]]) -> set[str]:
    """All that a task needs, at first or second hand."""
    return needs[digest] | {far for near in needs[digest] for far in _above(near, needs)}
