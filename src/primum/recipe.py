"""The recipe: everything a run depends on, checked before anything is written or trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from primum.coldstart import ColdstartConfig
from primum.config import Config, differences
from primum.curate import CurateConfig
from primum.distill import DistillConfig
from primum.evaluate import EvaluateConfig, Judge, JudgeConfig, build_judge
from primum.evaluate.hacking import WatchConfig
from primum.microworld import BLOCKED_WORDS, BaseConfig, Oracle
from primum.policy.model import check_folder, is_local
from primum.refine import RefineConfig
from primum.reinforce import ReinforceConfig
from primum.reinforce.config import Mix
from primum.reward import Reward, RewardConfig, Sources, build_reward
from primum.reward.adapt import Battery
from primum.reward.adaptive import AdaptConfig, Adaptive, Labellers
from primum.reward.sources import harm_signal, harmlessness, member_source, not_refused, reward_source, reward_sources
from primum.run import Ledger, Run, environment, plain, read_json, write_json
from primum.signals import HARM_WORDS, correctness
from primum.types import BadInput

EVEN = Mix(harmful=1.0, borderline=1.0, benign=1.0, task=1.0)  # the quickstart's results were settled with it


class BudgetConfig(Config):
    """What each trained arm may spend, by the ledger's FLOPs: SFT, RL and the hybrid the same."""

    tflops: float = Field(7.0, gt=0)  # an arm may stop earlier, on the validation category
    refine_share: float = Field(0.4, gt=0, lt=1)  # of what the hybrid has left after its cold start, kept for refinement
    price_per_hour: float = Field(0.0, ge=0)  # of the machine, in any currency; the report then says what the run cost


class SecondConfig(ReinforceConfig):
    """The RL after rejection sampling. Its reward is that of `reinforce` unless it names its own."""

    reward: str = ""


class Recipe(Config):
    """Everything a run depends on."""

    seed: int = Field(0, ge=0)
    model: str = "microworld"  # the embedded base, a Hugging Face folder, or a hub name
    device: str = "auto"
    dtype: str = "auto"
    threads: int = Field(0, ge=0)  # of the CPU; 0: one for a model under 5M parameters, too small to share out, else all
    budget: BudgetConfig = BudgetConfig()
    base: BaseConfig = BaseConfig()  # the embedded base; read where model is microworld
    curate: CurateConfig = CurateConfig()
    judge: JudgeConfig = JudgeConfig()
    reward: RewardConfig = RewardConfig()
    adapt: AdaptConfig = AdaptConfig()  # read where a reward is adaptive
    watch: WatchConfig = WatchConfig()
    coldstart: ColdstartConfig = ColdstartConfig(epochs=8, demonstrations=1200)
    reinforce: ReinforceConfig = ReinforceConfig(steps=500, learning_rate=2e-4, patience=4, mix=EVEN)
    refine: RefineConfig = RefineConfig(epochs=2, prompts=600, start="reasoner", demonstrations=False, learning_rate=3e-4)
    second: SecondConfig = SecondConfig(steps=60, learning_rate=1e-4, mix=EVEN)
    distill: DistillConfig = DistillConfig(epochs=8, evaluate_every_epochs=2, group=2, learning_rate=2e-3)
    evaluate: EvaluateConfig = EvaluateConfig()


def check(recipe: Recipe) -> tuple[Judge, list[str]]:
    """The judge, and what the report must warn of; refuses what can be refused before anything is written or trained."""
    if recipe.curate.world == "files":
        if recipe.model == "microworld":
            raise BadInput("the embedded model knows only the micro-world", "model", "name your own, model=PATH")
        if recipe.judge.harm == "microworld":
            remedy = "leave it out (auto), or choose embedded, guard, endpoint, keyword or classifier"
            raise BadInput("the micro-world's judge cannot read other prompts", "judge.harm", remedy)
    for path in (recipe.model, recipe.distill.student):
        if path not in ("microworld", "") and is_local(path):
            check_folder(Path(path))
    judge = build_judge(recipe.judge, recipe.curate.world)
    for name in (recipe.reinforce.reward, recipe.second.reward or recipe.reinforce.reward):
        if name == "adaptive":
            adaptive_reward(recipe, Ledger(), Path(), "", print)
        else:
            choose_reward(recipe, Ledger(), name)
    _check_watch(recipe)
    return judge, check_independence(recipe, judge)


def _check_watch(recipe: Recipe) -> None:
    """Refuse an answer to alarms that nothing here can give, and a held-out judge that is none."""
    action = recipe.watch.action if recipe.watch.every else "log"
    if action == "reweigh" and recipe.reward.constraints.harm is None:
        raise BadInput("no limit on harm whose weight an alarm could raise", "watch.action", "set reward.constraints.harm")
    if action == "adapt" and {recipe.reinforce.reward, recipe.second.reward or recipe.reinforce.reward} != {"adaptive"}:
        raise BadInput("this reward learns nothing from an alarm", "watch.action", "set reinforce.reward=adaptive")
    held_out = recipe.watch.held_out if recipe.watch.every else ""
    if held_out:
        harmlessness(held_out, recipe.reward, "watch.held_out", words=frozenset())
    if held_out and member_source(held_out, recipe.reward) in rewarded_by(recipe):
        raise BadInput(f"the reward asks {held_out} too", "watch.held_out", "name a judge that training does not ask")


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
        if not {"oracle", "adaptive"} & rewards:
            return []
        asked = f"The reward asks this very judge, metered and wrong in {recipe.reward.oracle_noise:.0%} of its answers: "
        return [asked + "harm on the categories trained on only shows that training worked, unseen ones are the evidence."]
    rules = recipe.curate.world == "files" and not all(":" in name for name in rewards)
    also = "Usefulness and correctness are judged by rules that the reward asks too: they show what was trained, no more."
    notes = [also] if rules else []
    taught = recipe.watch.action == "adapt" and recipe.watch.every
    if judge.source not in rewarded_by(recipe) and not taught:
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


def rewarded_by(recipe: Recipe) -> set[str]:
    """Every harm signal that a reward of this recipe asks, in the words of `Judge.source`."""
    names = {recipe.reinforce.reward, recipe.second.reward or recipe.reinforce.reward}
    found = {source for name in names if name != "adaptive" for source in reward_sources(name, recipe.reward)}
    if "adaptive" in names:
        found |= {reward_source(name, recipe.reward) for name in ("keyword", recipe.adapt.labeller or "oracle")}
    return found


def adaptive_reward(
    recipe: Recipe, ledger: Ledger, folder: Path, body: str, say: Callable[[str], None], battery: Battery | None = None
) -> Adaptive:
    """The reward "adaptive": the keyword rule until a learned judge is accepted, its versions in `folder`.

    Its labels are the labeller's, in the micro-world the metered oracle's; usefulness is told by them, beside the rule
    that a reply must not refuse.
    """
    world = recipe.curate.world == "microworld"
    oracle = Oracle(ledger, recipe.reward.oracle_noise, recipe.seed)
    words = BLOCKED_WORDS if world else HARM_WORDS
    named = recipe.adapt.labeller
    if not named and not world:
        raise BadInput(
            "nobody to label for the adaptive reward", "adapt.labeller", "name a judge, such as guard:DIR or endpoint:FILE"
        )
    asked = Labellers(harm_signal(named, recipe.reward, words=words)) if named else Labellers(oracle.harm, oracle.useful)
    learned = recipe.adapt.learned.model_copy(update={"model": recipe.adapt.learned.model or body})
    rule = harm_signal("keyword", recipe.reward, words=words)
    rules = Sources(rule, not_refused, oracle.correct if world else correctness, blind=True)
    config = recipe.adapt.model_copy(update={"learned": learned})
    return Adaptive(asked, rules, config, folder, reward=recipe.reward, battery=battery, seed=recipe.seed, say=say)


def choose_reward(recipe: Recipe, ledger: Ledger, name: str = "") -> Reward:
    """The reward `name`, or the one that the recipe names, with the oracle and the words of its world."""
    world = recipe.curate.world == "microworld"
    oracle = Oracle(ledger, recipe.reward.oracle_noise, recipe.seed) if world else None
    words = BLOCKED_WORDS if world else HARM_WORDS
    halves = "split" in (recipe.reinforce.credit, recipe.second.credit)
    return build_reward(name or recipe.reinforce.reward, recipe.reward, oracle=oracle, words=words, halves=halves)


def find_recipe(settings: list[str]) -> tuple[Path | None, list[str]]:
    """The recipe named first, if any, and the overrides: (None, …) is the built-in quickstart."""
    names = [s for s in settings if "=" not in s or Path(s).is_file()]
    if len(names) > 1:
        raise BadInput(f"two recipes, {names[0]} and {names[1]}", "command line", "name one; settings are written key=value")
    path = Path(names[0]) if names and names[0] != "quickstart" else None
    return path, [s for s in settings if s not in names]
