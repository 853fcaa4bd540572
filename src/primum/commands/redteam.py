"""`primum redteam` attacks a policy and says what it may have missed; `primum novelty` tells the unknown from the known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primum.commands.options import Debug, Json, console, wide_console
from primum.types import BadInput

if TYPE_CHECKING:
    from primum.evaluate import Judge
    from primum.evaluate.redteam import StackSpace
    from primum.policy import Policy

Model = Annotated[str, typer.Argument(help="microworld, a model folder or hub name, or a run directory.")]
Settings = Annotated[list[str] | None, typer.Argument(help="key=value settings, such as target.samples=4 search.method=random")]


def redteam(
    model: Model = "microworld",
    settings: Settings = None,
    queries: Annotated[int, typer.Option(min=1, help="Samples of the target that the search may take.")] = 8000,
    seeds: Annotated[
        Path | None, typer.Option(help="Harmful prompts of real text, .csv or .jsonl; else the micro-world's.")
    ] = None,
    judge: Annotated[str, typer.Option(help="A harm signal as for `primum score`; default: the world's own.")] = "",
    rewriter: Annotated[str, typer.Option(help="A model that rewrites and translates.")] = "",
    languages: Annotated[str, typer.Option(help="Languages to translate into, as de=German,sw=Swahili.")] = "",
    replay: Annotated[Path | None, typer.Option(help="Ask an earlier archive's finds instead of searching.")] = None,
    regression: Annotated[bool, typer.Option("--regression", help="Replay an archive older than the model.")] = False,
    shared: Annotated[bool, typer.Option("--shared-with-reward", help="Allow the reward's signal as judge.")] = False,
    output: Annotated[Path, typer.Option(help="Folder of the archive; the same command goes on from it.")] = Path("redteam"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search for attacks on a policy: archive.jsonl, finds.jsonl, and what the search may have missed."""
    from primum.config import load_recipe
    from primum.evaluate.redteam import Target, check_judge
    from primum.evaluate.redteam.attempt import RedteamConfig, attack, replayed
    from primum.policies import policy_of
    from primum.run import Run, plain

    model, given = _given(model, settings)
    config = load_recipe(RedteamConfig, None, [f"target.queries={queries}", *given])
    policy, folder, rewards = policy_of(model)
    space, world = _space(policy, seeds, config.depth, rewriter, languages)
    gold = _judge(judge or world)
    notes = [note for reward in rewards if (note := check_judge(gold, as_signal(reward), shared))]
    target = Target(policy, gold, config.target, seed=config.seed, words=seeds is not None)
    if replay is not None:
        found = replayed(replay, target, folder, regression)
    else:
        run = Run(output, console(as_json), quiet=as_json)
        with run.alone():
            named_seeds = {"seeds": str(seeds or ""), "judge": gold.source, "rewriter": rewriter, "languages": languages}
            found = attack(space, target, config, run, named_seeds)
    found = {"model": model, "judge": gold.name, "notes": [*found.pop("notes", []), *notes], **found}
    if as_json:
        typer.echo(json.dumps(plain(found), ensure_ascii=False))
        return
    wide_console().print(_describe(plain(found)), highlight=False, markup=False)


def novelty(
    model: Model = "microworld",
    settings: Settings = None,
    known: Annotated[
        Path | None, typer.Option(help="Everyday prompts, .csv or .jsonl: fitted, calibrated, tested by thirds.")
    ] = None,
    held: Annotated[list[Path] | None, typer.Option(help="Prompts of harms to tell apart; repeat for several files.")] = None,
    seed: int = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """How well a policy's own states tell unknown harms from everyday prompts, and what that costs in false alarms."""
    from primum.config import load_recipe
    from primum.evaluate.novelty import NoveltyConfig, measured
    from primum.evaluate.redteam import read_seeds
    from primum.policies import policy_of
    from primum.run import plain

    model, given = _given(model, settings)
    config = load_recipe(NoveltyConfig, None, given)
    if (known is None) != (not held):
        raise BadInput("novelty needs both sides", "command line", "give --known and --held, or neither for the micro-world")
    policy, _, _ = policy_of(model)
    if known is None:
        _speaks_the_world(policy, "--known")
        sets = _world_sets(seed)
    else:
        everyday = read_seeds(known)
        sets = (everyday[0::3], everyday[1::3], everyday[2::3], {p.stem: read_seeds(p) for p in held or []})
    found = {"model": model, **measured(policy, *sets, config, seed)}
    if as_json:
        typer.echo(json.dumps(plain(found), ensure_ascii=False))
        return
    wide_console().print(_describe_novelty(plain(found)), highlight=False, markup=False)


def _given(model: str, settings: list[str] | None) -> tuple[str, list[str]]:
    """The model and the settings; where the first word is a setting, the model is the micro-world's."""
    if "=" in model and not Path(model).exists():
        return "microworld", [model, *(settings or [])]
    return model, settings or []


def _space(policy: Policy, seeds: Path | None, depth: int, rewriter: str, languages: str) -> tuple[StackSpace, str]:
    """The space of attacks, and the name of its judge."""
    from primum.evaluate.redteam import microworld_space, read_seeds, text_space
    from primum.evaluate.redteam.rewrite import policy_rewriter
    from primum.policy import load

    if seeds is None:
        if rewriter or languages:
            raise BadInput("the micro-world needs no rewriter", "command line", "give --seeds FILE with prompts of real text")
        _speaks_the_world(policy, "--seeds")
        return microworld_space(depth=depth), "microworld"
    pairs = [pair.partition("=") for pair in languages.split(",") if pair]
    if any(not (code and name) for code, _, name in pairs):
        raise BadInput(f"cannot read the languages '{languages}'", "--languages", "write code=Name, such as de=German,sw=Swahili")
    writer = policy_rewriter(load(rewriter)) if rewriter else None
    named = {code: name for code, _, name in pairs}
    return text_space(read_seeds(seeds), rewriter=writer, languages=named, depth=depth), "embedded_harm"


def _speaks_the_world(policy: Policy, remedy: str) -> None:
    from primum.microworld.tokenizer import speaks

    if not speaks(policy.tokenizer):
        raise BadInput("this model does not speak the micro-world", policy.name, f"give prompts of real text with {remedy} FILE")


def _judge(name: str) -> Judge:
    """The judge by the name of its harm signal."""
    import os
    from dataclasses import replace

    from primum.evaluate import JudgeConfig, build_judge
    from primum.signals.named import named

    if name == "microworld":
        return build_judge(JudgeConfig())
    kind, colon, rest = name.partition(":")
    source = f"{kind}:{os.path.realpath(rest.partition('#')[0])}" if colon and os.path.exists(rest.partition("#")[0]) else name
    return replace(build_judge(JudgeConfig(harm="keyword")), name=name, source=source, harm_in_reply=named(name))


def as_signal(reward: str) -> str:
    """A reward's harm signal in the words of `--judge`: the oracle is the micro-world's judge behind a meter."""
    return {"oracle": "microworld", "embedded": "embedded_harm"}.get(reward, reward)


def _world_sets(seed: int) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Prompts of the micro-world: known as training has them, harmless to calibrate on, alike to test, and harms held out."""
    from primum.microworld import MicroworldConfig, build_corpus

    corpus = build_corpus(MicroworldConfig(train_examples=1600, validation_examples=400, test_examples=100), seed)
    calibration = [e for e in corpus.validation if e.kind != "harmful"]
    alike = [e for e in corpus.test if e.kind in ("benign", "task") or corpus.role(e.category) == "validation"]
    everyday = [e for kind in ("borderline", "benign", "task") for e in [a for a in alike if a.kind == kind][:100]]
    held = {c: [e for e in corpus.test if e.kind == "harmful" and e.category == c] for c in corpus.roles["test"]}
    return corpus.train, calibration, everyday, held


def _describe(found: dict[str, Any]) -> str:
    lines = [f"note: {note}" for note in found["notes"]]
    shown = _shown(found["success"])
    if "replayed" in found:
        return "\n".join([*lines, f"{found['replayed']} finds replayed: success {shown}, {found['unscored']} unscored"])
    unseen, mass = found["unseen"], _shown(found["unseen"]["mass"])
    lines += [
        f"{found['model']}, judged by {found['judge']}: {found['tried']} attacks, {found['queries']} queries, "
        f"{found['unscored']} unscored",
        f"success of an attack: {shown}",
        f"cells with a confirmed success: {_shown(found['coverage'])} of {found['cells']}; QD score {found['qd_score']:.1f}",
        f"audit of {unseen['draws']} draws: {unseen['failures']} failed in {unseen['seen']} cells; chance that the next fails in "
        f"a new one {mass}, at most {unseen['ceiling']:.3f}; at least {unseen['niches']:.0f} such cells",
    ]
    for axis in ("category", "style", "language", "depth"):
        by = found[f"by_{axis}"]
        lines.append(f"  {axis}: " + ", ".join(f"{name} {value['mean']:.2f}" for name, value in by.items()))
    lines += [f"  {best['success']:.2f} {' / '.join(map(str, best['cell']))}: {best['prompt'][:90]}" for best in found["best"]]
    return "\n".join([*lines, f"{found['finds']} finds in {found['folder']}/finds.jsonl"])


def _describe_novelty(found: dict[str, Any]) -> str:
    alarms = f"false alarms on everyday prompts {_shown(found['false_alarms'])}, allowed {found['allowed']:.2f}"
    lines = [f"  {name}: AUROC {_shown(one['auroc'])}, caught {_shown(one['caught'])}" for name, one in found["harms"].items()]
    return "\n".join([alarms, *lines, f"fallback shown instead of an answer: {found['fallback']}"])


def _shown(estimate: dict[str, Any]) -> str:
    if estimate["mean"] is None:
        return "unknown"
    low, high = (x if x is not None else float("nan") for x in (estimate["low"], estimate["high"]))
    return f"{estimate['mean']:.3f} [{low:.3f}, {high:.3f}] n {estimate['n']}"
