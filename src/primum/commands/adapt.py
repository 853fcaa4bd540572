"""`primum adapt`: the next version of a learned reward from operators' labels, and what it changes on stored transcripts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from primum.commands.options import Debug, Json, console
from primum.types import BadInput, Example, Rollout, Signal

if TYPE_CHECKING:
    from primum.reward.learned import LearnedConfig
    from primum.reward.versions import Version, Versions

MARGIN = 0.03


def adapt(
    transcripts: Annotated[Path, typer.Argument(metavar="RUN_OR_TRANSCRIPTS", help="A run directory, or a JSONL file.")],
    labels: Annotated[Path, typer.Option(help="JSONL file of the operators' labels.")],
    reward: Annotated[Path, typer.Option(help="The learned reward in force.")],
    output: Annotated[Path, typer.Option(help="Folder of the versions; begun with the reward as v1.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value settings of the training, such as epochs=4")] = None,
    head: Annotated[str, typer.Option(help="What to compare on the transcripts; default: harm, or the first head.")] = "",
    margin: Annotated[float, typer.Option(min=0, help="By which a held-out squared error may rise.")] = MARGIN,
    seeds: Annotated[str, typer.Option(help="Seeds of the stress battery; default: the dozen that ships.")] = "",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train the next version on old and new labels, accept or refuse it, and show what it changes. Exit code 2: refused."""
    from primum.reward.adapt import diff, keep_diff, propose, stress_battery
    from primum.reward.labels import read_judged, unknown
    from primum.reward.versions import Versions
    from primum.run import plain
    from primum.signals.stress import load_seeds

    versions, new, stored = Versions(output), read_judged([labels]), _transcripts(transcripts)
    before = _begun(versions, reward)
    if not unknown(new, versions.labels(versions.next_number() - 1)):
        raise BadInput(
            "every label here is known to the last version", str(labels), "give new labels; the same ones change nothing"
        )
    name, harmful = _compared(reward, head)
    battery = stress_battery(load_seeds(seeds)) if harmful else None
    config = _config(reward, versions.path(before.number), settings or [])
    source = _source(name)
    found = propose(versions, new, config, margin=margin, source=source, battery=battery, say=console(as_json).print)
    after = versions.path(found.number)
    changed = diff(source(versions.path(before.number)), source(after), stored)
    keep_diff(versions, found, changed)
    if as_json:
        told = {"path": str(after), "head": name, **found.to_json(), "diff": changed}
        typer.echo(json.dumps(plain(told), ensure_ascii=False))
    else:
        typer.echo(_told(found, after, name, changed))
    if not found.accepted:
        raise typer.Exit(2)


def _source(name: str) -> Callable[[Path | None], Signal]:
    from primum.signals.heads import learned

    def source(path: Path | None) -> Signal:
        assert path is not None  # there is always a first version here
        return learned(path, name)

    return source


def _begun(versions: Versions, reward: Path) -> Version:
    """The version in force; a new folder begins with a copy of the reward."""
    from primum.reward.versions import Version
    from primum.signals.heads import read_note

    note = read_note(reward)
    current = versions.current()
    if current is None:
        why = "given as the first"
        current = Version(1, note["parent"], note["data"], note["weights"], note["held_out"], {}, True, why)
        shutil.copytree(reward, versions.path(1), dirs_exist_ok=True)
        versions.record(current)
    if current.weights != note["weights"]:
        what = f"the version in force is {current.name}, with other weights than {reward}"
        raise BadInput(what, str(versions.folder), f"name --reward {versions.path(current.number)}, or another --output")
    return current


def _compared(reward: Path, head: str) -> tuple[str, bool]:
    """The head to compare, and whether it tells harm, which the stress battery is about."""
    from primum.signals.heads import HALVES, WHOLE, read_note

    names = read_note(reward)["heads"]
    halves = any(half in names for half in HALVES)
    name = head or (WHOLE if halves or WHOLE in names else names[0])
    return name, name.startswith("harm")


def _config(reward: Path, body: Path, settings: list[str]) -> LearnedConfig:
    """The settings that the reward was trained with, going on from its own body, and what is overridden."""
    from primum.config import load_recipe
    from primum.reward.learned import LearnedConfig
    from primum.signals.heads import read_note

    kept = {**read_note(reward)["config"], "model": str(body), "heads": ()}
    given = load_recipe(LearnedConfig, None, settings)
    changed = {key: getattr(given, key) for key in (setting.partition("=")[0].strip() for setting in settings)}
    return LearnedConfig.model_validate({**kept, **changed})


def _transcripts(path: Path) -> list[Rollout]:
    """The stored responses of a run directory, or of a file of prompt, thought, reply."""
    from primum.run import read_jsonl

    files = sorted(path.rglob("rollouts.jsonl")) if path.is_dir() else [path] * path.is_file()
    out = []
    for file in files:
        for i, row in enumerate(read_jsonl(file, torn=True)):
            if not isinstance(row.get("prompt"), str) or not isinstance(row.get("reply"), str):
                raise BadInput("no prompt or no reply", f"{file}, row {i + 1}", "give rows of prompt, thought, reply")
            ask = Example(str(row.get("id", i)), row["prompt"], row.get("kind", "harmful"), row.get("category") or "")
            out.append(Rollout(ask, str(row.get("thought") or ""), row["reply"], bool(row.get("truncated"))))
    if not out:
        raise BadInput("no transcripts here", str(path), "name a run directory with rollouts.jsonl, or a JSONL file")
    return out


def _told(found: Version, path: Path, name: str, changed: dict[str, Any]) -> str:
    verdict = "accepted" if found.accepted else f"refused: {found.why}"
    lines = [f"{found.name} {verdict} ({path})"]
    for origin, heads in found.held_out.items():
        for head, e in heads.items():
            lines.append(f"  {origin} held-out labels, {head}: error {e['before']:.3f} to {e['after']:.3f} (n {e['n']})")
    moved = f"{changed['up']} now called {name}, {changed['down']} no longer"
    means = f"mean {changed['mean_before']:.3f} to {changed['mean_after']:.3f}"
    lines.append(f"  on {changed['rollouts']} stored responses ({changed['unscored']} unscored): {moved}, {means}")
    for e in changed["examples"]:
        lines.append(f"    {e['before']:.2f} to {e['after']:.2f}: {e['prompt'][:60]!r}: {e['reply'][:80]!r}")
    return "\n".join(lines)
