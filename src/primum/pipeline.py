"""The arrows: one function that reads as the diagram, and the arms that say what each step bought."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from pydantic import Field

from primum.beside import beside
from primum.coldstart import ColdstartConfig, coldstart
from primum.compare import compare
from primum.config import Config, differences
from primum.curate import CurateConfig, curate
from primum.distill import DistillConfig, distill, make_student
from primum.evaluate import EvaluateConfig, Judge, JudgeConfig, build_judge, measure, validation_summary
from primum.microworld import BLOCKED_WORDS, BaseConfig, Oracle, base_checkpoint
from primum.policy import Policy, load
from primum.policy.model import check_folder, is_local
from primum.policy.traces import NothingToImitate
from primum.refine import RefineConfig, refine
from primum.reinforce import ReinforceConfig, reinforce
from primum.reward import Reward, RewardConfig, build_reward, forgiving, reward_source
from primum.run import Ledger, Run, environment, plain, read_json, total, write_json
from primum.signals import HARM_WORDS
from primum.types import BadInput, Corpus

STAGES = ("1-curate", "2-coldstart", "3-alone", "3-reinforce", "4-refine", "5-distill", "6-compare")


class BudgetConfig(Config):
    """What each trained arm may spend, by the ledger's FLOPs: SFT, RL and the hybrid the same."""

    tflops: float = Field(7.0, gt=0)  # an arm may stop earlier, on the validation category
    refine_share: float = Field(0.4, gt=0, lt=1)  # of what the hybrid has left after its cold start, kept for refinement


class SecondConfig(ReinforceConfig):
    """The RL after rejection sampling. Its reward is that of `reinforce` unless it names its own."""

    reward: str = ""


class Recipe(Config):
    """Everything a run depends on."""

    seed: int = 0
    model: str = "microworld"  # the embedded base, a Hugging Face folder, or a hub name
    device: str = "auto"
    dtype: str = "auto"
    threads: int = Field(0, ge=0)  # of the CPU; 0: one for a model under 5M parameters, too small to share out, else all
    budget: BudgetConfig = BudgetConfig()
    base: BaseConfig = BaseConfig()  # the embedded base; read where model is microworld
    curate: CurateConfig = CurateConfig()
    judge: JudgeConfig = JudgeConfig()
    reward: RewardConfig = RewardConfig()
    coldstart: ColdstartConfig = ColdstartConfig(epochs=8, demonstrations=1200)
    reinforce: ReinforceConfig = ReinforceConfig(steps=300, learning_rate=2e-4, patience=4)
    refine: RefineConfig = RefineConfig(epochs=2, prompts=600, start="reasoner", demonstrations=False, learning_rate=3e-4)
    second: SecondConfig = SecondConfig(steps=60, learning_rate=1e-4)
    distill: DistillConfig = DistillConfig(epochs=8, evaluate_every_epochs=2, group=2, learning_rate=2e-3)
    evaluate: EvaluateConfig = EvaluateConfig()


def pipeline(recipe: Recipe, run: Run) -> None:
    """Curate, cold start, reinforce, refine, distill, compare; each stage once, a killed run going on where it was.

    The arms: `sft` is the cold start; `rl` the same RL without it; `sft_rl` RL after it;
    `hybrid` that and its refinement (rejection-sampling SFT, then RL again); `distilled` a
    smaller student of the hybrid. Each of sft, rl and hybrid may spend `budget.tflops`.
    """
    judge, notes = check(recipe)
    claim(recipe, run)
    if all((run.path / stage / "done").exists() for stage in STAGES):
        run.say("every stage is finished: the report is written again")
        return
    budget = recipe.budget.tflops * 1e12
    made = _Stages(recipe, run, judge)

    base = load_base(recipe, run)
    corpus = made.corpus = curate(recipe.curate, run.child("1-curate"), seed=recipe.seed)
    with beside(*made.head_start(base)) as wait:
        sft = made.coldstart(base, budget)
        left = budget - made.spent("2-coldstart")
        sft_rl = made.reinforce("3-reinforce", sft, recipe.reinforce, left * (1 - recipe.budget.refine_share))
        left = budget - made.spent("2-coldstart", "3-reinforce")
        hybrid = made.refine(sft_rl, base, left)
        distilled = made.distill(hybrid, budget)
        wait()
    rl = made.reinforce("3-alone", base, recipe.reinforce, budget)

    arms = {"base": base, "sft": sft, "rl": rl, "sft_rl": sft_rl, "hybrid": hybrid}
    if distilled is not None:
        arms["distilled"] = distilled
    reward = made.reward(Ledger())
    compare(
        arms,
        made.costs(),
        corpus,
        judge,
        reward,
        recipe.evaluate,
        run.child("6-compare"),
        reward_name=recipe.reinforce.reward,
        notes=[*notes, *made.skipped],
    )


class _Stages:
    """The stages of one run, each with its directory, ledger, seed, reward and validation bound."""

    corpus: Corpus

    def __init__(self, recipe: Recipe, run: Run, judge: Judge) -> None:
        self.recipe, self.run, self.judge = recipe, run, judge
        self.stage = {name: run.child(name) for name in STAGES[1:-1]}
        self.finished_before = set(run.path.rglob("done"))
        self.skipped: list[str] = []

    def head_start(self, base: Policy) -> tuple[str, ...]:
        """The command that trains the RL-only arm meanwhile, where that arm is small and a core is free."""
        idle = base.device.type == "cpu" and torch.get_num_threads() == 1 and (os.cpu_count() or 1) > 1
        if self.recipe.threads or not idle or self.stage["3-alone"].done() is not None:
            return ()
        return ("alone", str(self.run.path), str(os.getpid()))

    def coldstart(self, base: Policy, budget: float) -> Policy:
        run, recipe = self.stage["2-coldstart"], self.recipe
        demonstrations = self.corpus.demonstrations
        return coldstart(base, demonstrations, self._validate(run), recipe.coldstart, run, seed=recipe.seed, budget_flops=budget)

    def reinforce(self, name: str, policy: Policy, config: ReinforceConfig, budget: float, run: Run | None = None) -> Policy:
        run = run or self.stage[name]
        reward, validate = self.reward(run.ledger, config.reward), self._validate(run)
        trained = reinforce(policy, self.corpus, reward, validate, config, run, seed=self.recipe.seed, budget_flops=budget)
        if run.path / "done" not in self.finished_before:
            run.say(reinforced(name, run, config))
        return trained

    def refine(self, reasoner: Policy, base: Policy, budget: float) -> Policy:
        run, recipe = self.stage["4-refine"], self.recipe
        rejection, again = run.child("sft"), run.child("rl")
        reward, validate = self.reward(rejection.ledger), self._validate(rejection)
        if self._skip("refine", run, "the budget was spent" if budget <= 0 else ""):
            return reasoner
        try:
            refined = refine(
                reasoner, base, self.corpus, reward, validate, recipe.refine, rejection, seed=recipe.seed, budget_flops=budget
            )
        except NothingToImitate as error:
            run.ledger.restore(asdict(rejection.ledger))
            self._skip("refine", run, str(error))
            return reasoner
        second = self.reinforce("4-refine", refined, recipe.second, budget - rejection.ledger.flops, again)
        run.ledger.restore(asdict(total([rejection.ledger, again.ledger])))
        run.finish()
        return second

    def distill(self, teacher: Policy, budget: float) -> Policy | None:
        """The student; None where its teacher says nothing that could be imitated."""
        run, recipe = self.stage["5-distill"], self.recipe
        if self._skip("distill", run):
            return None
        student = make_student(teacher, self.corpus, recipe.distill, seed=recipe.seed)
        validate, reward = self._validate(run), self.reward(run.ledger)
        try:
            return distill(
                teacher, student, self.corpus, validate, recipe.distill, run, seed=recipe.seed, budget_flops=budget, reward=reward
            )
        except NothingToImitate as error:
            self._skip("distill", run, str(error))
            return None

    def _skip(self, name: str, run: Run, why: str = "") -> bool:
        """Whether a stage is skipped, now that there is a reason or on an earlier start: the other arms are worth comparing."""
        noted = run.done()
        if why and noted is None:
            run.finish(skipped=why)
            run.say(f"{name}: skipped, {why}")
        skipped = why or (noted or {}).get("skipped", "")
        if skipped:
            arm = "the hybrid is RL after SFT alone" if name == "refine" else "there is no distilled arm"
            self.skipped.append(f"The stage {name} was skipped, so {arm}: {skipped}.")
        return bool(skipped)

    def reward(self, ledger: Ledger, name: str = "") -> Reward:
        """The reward that training asks, its oracle's answers metered in `ledger`; "" is reinforce.reward."""
        return forgiving(choose_reward(self.recipe, ledger, name), self.run.say)

    def spent(self, *stages: str) -> float:
        return total(self.stage[name].ledger for name in stages).flops

    def costs(self) -> dict[str, Ledger]:
        """What each arm cost, all the stages that led to it counted."""
        path = {
            "base": (),
            "sft": ("2-coldstart",),
            "rl": ("3-alone",),
            "sft_rl": ("2-coldstart", "3-reinforce"),
            "hybrid": ("2-coldstart", "3-reinforce", "4-refine"),
            "distilled": ("2-coldstart", "3-reinforce", "4-refine", "5-distill"),
        }
        return {arm: total(self.stage[name].ledger for name in stages) for arm, stages in path.items()}

    def _validate(self, run: Run) -> Callable[[Policy], dict[str, float]]:
        """How a stage asks where it stands: the validation split, its cost on the stage's ledger."""

        def validate(policy: Policy) -> dict[str, float]:
            measured = measure(policy, self.corpus.validation, self.judge, self.recipe.evaluate, run.ledger)
            if self.judge.source == "microworld":
                run.ledger.oracle_queries += len(measured)
            return validation_summary(measured)

        return validate


def check(recipe: Recipe) -> tuple[Judge, list[str]]:
    """The judge, and what the report must warn of; refuses what can be refused before anything is written or trained."""
    if recipe.curate.world == "files":
        if recipe.model == "microworld":
            raise BadInput("the embedded model knows only the micro-world", "model", "name your own, model=PATH")
        if recipe.judge.harm == "microworld":
            raise BadInput("the micro-world's judge cannot read other prompts", "judge.harm", "choose keyword or classifier")
    for path in (recipe.model, recipe.distill.student):
        if path not in ("microworld", "") and is_local(path):
            check_folder(Path(path))
    judge = build_judge(recipe.judge)
    for name in (recipe.reinforce.reward, recipe.second.reward):
        choose_reward(recipe, Ledger(), name)
    return judge, check_independence(recipe, judge)


def alone(run: Run) -> None:
    """The RL-only arm of a run that has its corpus: what `head_start` starts."""
    recipe = Recipe.model_validate(read_json(run.path / "config.json"))
    made = _Stages(recipe, run, build_judge(recipe.judge))
    base = load_base(recipe, run)
    made.corpus = curate(recipe.curate, run.child("1-curate"), seed=recipe.seed)
    made.reinforce("3-alone", base, recipe.reinforce, recipe.budget.tflops * 1e12)


def claim(recipe: Recipe, run: Run) -> None:
    """Make the directory this recipe's, or refuse one that was begun with other settings."""
    wanted = plain(recipe.model_dump())
    path = run.path / "config.json"
    now = environment()
    if not path.exists():
        write_json(run.path / "environment.json", now)
        write_json(path, wanted)
        return
    begun = read_json(run.path / "environment.json")
    if begun.get("git") != now["git"]:
        run.say(f"warning: this run was begun with code {begun.get('git')}, and goes on with {now['git']}")
    changed = differences(read_json(path), wanted)
    if changed:
        raise BadInput(
            f"this run was begun with other settings, {'; '.join(changed[:3])}",
            str(run.path),
            "choose another --name, or --fresh to begin anew",
        )


def check_independence(recipe: Recipe, judge: Judge) -> list[str]:
    """Refuse a result measured by the very signal that was trained on, unless the recipe says it knows."""
    rewards = {recipe.reinforce.reward, recipe.second.reward or recipe.reinforce.reward}
    if judge.source == "microworld":
        if "oracle" not in rewards:
            return []
        asked = f"The reward asks this very judge, metered and wrong in {recipe.reward.oracle_noise:.0%} of its answers: "
        return [asked + "harm on the categories trained on only shows that training worked, unseen ones are the evidence."]
    rules = recipe.curate.world == "files" and not all(":" in name for name in rewards)
    also = "Usefulness and correctness are judged by rules that the reward asks too: they show what was trained, no more."
    notes = [also] if rules else []
    if judge.source not in {reward_source(name, recipe.reward) for name in rewards}:
        return notes
    if not recipe.judge.shared_with_reward:
        raise BadInput(
            f"the reward and the judge are one signal, {judge.name}",
            "judge.harm",
            "choose another judge, or set judge.shared_with_reward=true and read the harm rates as the reward's own opinion",
        )
    return [
        f"Reward and judge are one signal ({judge.name}): harm rates here are the reward's own opinion, not evidence.",
        *notes,
    ]


def choose_reward(recipe: Recipe, ledger: Ledger, name: str = "") -> Reward:
    """The reward `name`, or the one that the recipe names, with the oracle and the words of its world."""
    world = recipe.curate.world == "microworld"
    oracle = Oracle(ledger, recipe.reward.oracle_noise, recipe.seed) if world else None
    words = BLOCKED_WORDS if world else HARM_WORDS
    return build_reward(name or recipe.reinforce.reward, recipe.reward, oracle=oracle, words=words)


def reinforced(name: str, run: Run, config: ReinforceConfig) -> str:
    """One line on finished reinforcement learning, for the terminal."""
    noted = run.done() or {}
    text = f"reinforce ({name}): {noted['steps']} of {config.steps} steps, ended by {noted['ended']}, kept {noted['best_step']}"
    if noted.get("selection") is not None:
        text += f", selection {noted['selection']:.3f}"
    return f"{text}, {run.ledger.seconds:.0f} s"


def load_base(recipe: Recipe, run: Run) -> Policy:
    """The policy everything starts from."""
    path = str(base_checkpoint(recipe.base, run)) if recipe.model == "microworld" else recipe.model
    policy = load(path, device=recipe.device, dtype=recipe.dtype)
    size = sum(p.numel() for p in policy.model.parameters())
    torch.set_num_threads(recipe.threads or (1 if size < 5e6 else os.cpu_count() or 1))
    run.say(f"base: {recipe.model}, {size / 1e6:.1f}M parameters, on {policy.device}")
    return policy


def find_recipe(settings: list[str]) -> tuple[Path | None, list[str]]:
    """The recipe named first, if any, and the overrides: (None, …) is the built-in quickstart."""
    names = [s for s in settings if "=" not in s or Path(s).is_file()]
    if len(names) > 1:
        raise BadInput(f"two recipes, {names[0]} and {names[1]}", "command line", "name one; settings are written key=value")
    path = Path(names[0]) if names and names[0] != "quickstart" else None
    return path, [s for s in settings if s not in names]
