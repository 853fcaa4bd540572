"""One seed's chains of tasks, made from a recipe: what starts from what, with which settings changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from primum.config import merge
from primum.recipe import Recipe
from primum.run import plain
from primum.study.graph import Task
from primum.study.inputs import contents, paths_in

STAGES = "primum.study.stages"
ORDER = ("H3", "H7", "H1", "H8", "H5", "H2", "H6", "H4")  # in which the micro-world's harm categories are left out in turn
EVERYWHERE = ("seed", "device", "dtype", "threads", "judge", "evaluate")


@dataclass(frozen=True)
class Arm:
    """A policy that an experiment compares: what is done, the task that leaves it, and the one that measures it."""

    about: str
    policy: Task
    measured: Task


class Plan:
    """The tasks of one seed. Equal settings make equal tasks, which are done once whoever asks for them.

    `changes` of a stage are laid on the recipe's own section; a stage's task depends on the sections it reads alone.
    """

    def __init__(self, recipe: Recipe, seed: int, *, probe: int = 0, gpus: float = 0.0) -> None:
        self.recipe = recipe.model_copy(update={"seed": seed})
        self.probe, self.gpus = probe, gpus

    @property
    def world(self) -> bool:
        return self.recipe.curate.world == "microworld"

    def base(self, **changes: Any) -> Task:
        """The start model; of the embedded one the seed's own."""
        changed = self._with("base", changes)
        settings = {"recipe": {"model": changed["model"], "base": changed["base"]}}
        if changed["model"] != "microworld":
            settings = {"recipe": {"model": changed["model"]}, "inputs": contents([changed["model"]])}
        return Task(f"{STAGES}:base", settings, {}, f"base, seed {self.recipe.seed}", self.gpus)

    def corpus(self, **changes: Any) -> Task:
        changed = self._with("curate", changes)
        settings = _told({"seed": changed["seed"], "curate": changed["curate"]})
        return Task(f"{STAGES}:corpus", settings, {}, f"corpus, seed {self.recipe.seed}")

    def coldstart(self, start: Task, corpus: Task, *, made: Task | None = None, **changes: Any) -> Task:
        """SFT; `lessons`, `budget`, `fill`, `select` and `probe` are the task's own settings, all else the section's."""
        needs = {"policy": start, "corpus": corpus} | ({"demonstrations": made} if made else {})
        return self._stage("coldstart", ("coldstart",), needs, changes)

    def reinforce(self, start: Task, corpus: Task, *, base: Task | None = None, reward: dict[str, Any] | None = None,
                  adapt: dict[str, Any] | None = None, **changes: Any) -> Task:  # fmt: skip
        """RL; `reward` and `adapt` change those sections, `source` names the reward, the rest is the section's."""
        if (source := changes.pop("source", None)) is not None:
            changes["reward"] = source
        needs = {"policy": start, "corpus": corpus} | ({"base": base} if base else {})
        return self._stage("reinforce", ("reinforce", "reward", "adapt"), needs, changes, {"reward": reward, "adapt": adapt})

    def refine(self, reasoner: Task, corpus: Task, **changes: Any) -> Task:
        return self._stage("refine", ("refine", "reward"), {"policy": reasoner, "corpus": corpus}, changes)

    def student(self, teacher: Task, corpus: Task, **changes: Any) -> Task:
        return self._stage("student", ("distill",), {"policy": teacher, "corpus": corpus}, changes)

    def distill(self, teacher: Task, student: Task, corpus: Task, **changes: Any) -> Task:
        needs = {"policy": student, "teacher": teacher, "corpus": corpus}
        return self._stage("distill", ("distill", "reward"), needs, changes)

    def distill_on_policy(self, teacher: Task, student: Task, corpus: Task, *, own_budget: float, **settings: Any) -> Task:
        """The student on its own rollouts; `settings` are those of `OnPolicyConfig`."""
        needs = {"policy": student, "teacher": teacher, "corpus": corpus}
        own = {"on_policy": settings, "own_budget": own_budget, "probe": self.probe}
        return self.task(f"{STAGES}:distill_on_policy", (), needs, own)

    def measure(self, policy: Task, corpus: Task, *, attacks: int = 0, samples: int = 1) -> Task:
        """The policy on the corpus' test split, and under jailbreaks of `attacks` of its harmful requests."""
        recipe = plain(self.recipe.model_dump())
        evaluate = {**recipe["evaluate"], "samples": samples}
        sections = {**{k: recipe[k] for k in EVERYWHERE}, "evaluate": evaluate, "curate": {"world": recipe["curate"]["world"]}}
        settings = _told(sections, attacks=attacks)
        return Task(
            "primum.study.measures:measured", settings, {"policy": policy, "corpus": corpus}, f"measure {policy.label}", self.gpus
        )

    def arm(self, about: str, policy: Task, corpus: Task, *, attacks: int = 0, samples: int = 1) -> Arm:
        return Arm(about, policy, self.measure(policy, corpus, attacks=attacks, samples=samples))

    def task(self, does: str, sections: tuple[str, ...], needs: dict[str, Task], own: dict[str, Any]) -> Task:
        """A task of an experiment's own, on these sections of the recipe."""
        recipe = plain(self.recipe.model_dump())
        kept = {k: recipe[k] for k in (*EVERYWHERE, *sections)} | {"curate": {"world": recipe["curate"]["world"]}}
        return Task(does, _told(kept, **own), needs, f"{does.rpartition(':')[2]}, seed {self.recipe.seed}", self.gpus)

    def _stage(self, name: str, sections: tuple[str, ...], needs: dict[str, Task], changes: dict[str, Any],
               others: dict[str, dict[str, Any] | None] | None = None) -> Task:  # fmt: skip
        own = {key: changes.pop(key) for key in OWN if key in changes}
        if name != "student":
            own.setdefault("probe", self.probe)
        recipe = self._with(name if name != "student" else "distill", changes)
        for section, changed in (others or {}).items():
            recipe[section] = merge(recipe[section], plain(changed or {}))
        kept = {k: recipe[k] for k in (*EVERYWHERE, *sections)} | {"curate": {"world": recipe["curate"]["world"]}}
        if "reward" in sections:
            kept.setdefault("reinforce", {"reward": recipe["reinforce"]["reward"]})  # which reward is asked
        return Task(f"{STAGES}:{name}", _told(kept, **own), needs, f"{name}, seed {self.recipe.seed}", self.gpus)

    def _with(self, section: str, changes: dict[str, Any]) -> dict[str, Any]:
        """The recipe as plain JSON with a section changed, checked as a whole."""
        tree = merge(plain(self.recipe.model_dump()), {section: plain(changes)})
        return plain(Recipe.model_validate(tree).model_dump())


def _told(sections: dict[str, Any], **own: Any) -> dict[str, Any]:
    """A task's settings: these sections of the recipe, what is its own, and what is in the user's files that they name."""
    named = contents(paths_in(sections))
    return {"recipe": sections, **own} | ({"inputs": named} if named else {})


def rotated(seed: int, test: int = 2) -> dict[str, list[str]]:
    """The roles of the micro-world's harm categories for a seed: `test` to test, the next one to validate, the others to train.

    Four seeds that follow each other test all eight, two at a time.

    >>> rotated(1)
    {'train': ['H2', 'H6', 'H4', 'H3', 'H7'], 'validation': ['H5'], 'test': ['H1', 'H8']}
    """
    start = seed * test % len(ORDER)
    turned = [*ORDER[start:], *ORDER[:start]]
    return {"train": turned[test + 1 :], "validation": [turned[test]], "test": turned[:test]}


OWN = ("lessons", "budget", "own_budget", "fill", "select", "probe", "categories", "kinds", "begun", "filter")
"""Settings of a task that are no settings of the recipe's section."""
