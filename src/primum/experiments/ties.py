"""Do ties teach? A reward from pairs with ties (Rao–Kupper) against pairs (Bradley–Terry) and regression, on real pairs."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from primum.config import Config
from primum.experiments.jobs import run_jobs
from primum.reward.labels import Judged, read_judged
from primum.run import Run
from primum.stats import Estimate, estimate, paired_difference
from primum.types import BadInput

QUESTION = (
    "On real preference pairs, does a reward trained with ties order held-out pairs better than one without, or by regression?"
)
PREDICTION = (
    "Order accuracy on held-out pairs: with ties ≥ Bradley–Terry ≥ regression, as VideoAlign found (73.4, 72.6, 70.2 %). "
    "With so small an encoder, trained from nothing, the differences may be below what these pairs can show."
)
SETS = {"hh": "hh_rlhf_harmless/test.jsonl.gz", "coconot": "coconot/coconot_pref.jsonl"}
ARMS = ("ties", "bradley_terry", "regression")
STEPS = (("ties", "bradley_terry"), ("bradley_terry", "regression"))
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Settings(Config):
    """The size of the encoder and of the work; every fold and seed is a job that trains each arm from one start."""

    data: str = ""  # folder of the public data; "": $PRIMUM_DATA, or ../shared/data
    seeds: int = Field(2, ge=1)
    folds: int = Field(2, ge=2)  # of the prompts: each is held out once a seed
    tie_share: float = Field(0.25, gt=0, le=1)  # ties made, as a share of the training pairs
    k: float = Field(5.0, gt=1)
    vocabulary: int = Field(3000, ge=300)
    hidden: int = Field(64, ge=16)
    layers: int = Field(2, ge=1)
    limit_tokens: int = Field(64, ge=16)
    mlm_epochs: int = Field(1, ge=0)  # over the training texts, before the reward: guess 15 % of the tokens
    epochs: int = Field(3, ge=1)
    batch: int = Field(32, ge=2)
    learning_rate: float = Field(5e-4, gt=0)
    device: str = "auto"
    workers: int = Field(0, ge=0)  # processes at once; 0: one for every core


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt; the first was chosen."""

    source: str
    prompt: str
    chosen: str
    rejected: str


def experiment(config: Settings, run: Run) -> dict[str, Any]:
    """Order accuracy of every arm on held-out pairs, and the paired differences, over prompts."""
    read_pairs(config)  # refused here, and not in a process of its own
    names = {f"seed-{s}-fold-{f}": (config.model_dump(), s, f) for s in range(config.seeds) for f in range(config.folds)}
    results = run_jobs(job, names, run, workers=config.workers)
    rows = [row for found in results.values() for row in found["rows"]]
    found: dict[str, Any] = {"pairs": {name: sum(r["source"] == name for r in rows) // config.seeds for name in SETS}}
    for name in ("all", *SETS):
        some = [r for r in rows if name in ("all", r["source"])]
        found[name] = _compared(some)
    found["ties_made"] = sum(result["ties"] for result in results.values())
    found["parameters"] = next(iter(results.values()))["parameters"]
    return found


def describe(found: dict[str, Any]) -> str:
    lines = [f"{found['pairs']} pairs, encoder of {found['parameters']:,} parameters, trained from nothing"]
    for name in ("all", *SETS):
        lines.append(f"{name}:")
        for arm in ARMS:
            lines.append(f"  {arm:14} {_said(found[name]['accuracy'][arm])}")
        for better, worse in STEPS:
            difference = found[name]["differences"][f"{better} - {worse}"]
            lines.append(f"  {better} - {worse}: {_said(difference)}, {difference['verdict']}")
    return "\n".join(lines)


def job(folder: Path, settings: dict[str, Any], seed: int, fold: int) -> dict[str, Any]:
    """One fold held out: each arm trained from the same encoder on the same pairs, then asked about the fold."""
    from primum.experiments.ties_model import Texts, fresh_encoder, hits, pretrain, train_arm

    config = Settings.model_validate(settings)
    pairs = read_pairs(config)
    train, held = parted(pairs, seed, fold, config.folds)
    ties = made_ties(train, round(config.tie_share * len(train)), random.Random(f"ties-{seed}-{fold}"))
    texts = Texts([*train, *held], train, config)
    model = fresh_encoder(texts.tokenizer, config, seed)
    pretrain(model, texts, train, config, seed)
    trained = {arm: train_arm(model, texts, train, ties, arm, config, seed) for arm in ARMS}
    right = {arm: hits(trained[arm], texts, held, config) for arm in ARMS}
    rows = [{"source": p.source, "prompt": p.prompt_id, **{a: right[a][i] for a in ARMS}} for i, p in enumerate(_numbered(held))]
    return {"rows": rows, "ties": len(ties), "parameters": sum(p.numel() for p in model.body.parameters())}


def read_pairs(config: Settings) -> list[Pair]:
    """The pairs of both sets; identical answers, which have no order, left out."""
    root = Path(config.data or os.environ.get("PRIMUM_DATA") or "../shared/data")
    out: list[Pair] = []
    for name, file in SETS.items():
        path = root / file
        if not path.is_file():
            raise BadInput("the public pairs are not here", str(path), "set data=FOLDER or PRIMUM_DATA")
        out += [Pair(name, j.prompt, j.responses[0].reply, j.responses[1].reply) for j in _judged(path)]
    return [p for p in out if p.chosen != p.rejected]


def made_ties(pairs: Sequence[Pair], n: int, draw: random.Random) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Made ties: two answers of one standing, both chosen or both rejected, to different prompts of one set.

    The sets have no ties of their own. That two chosen answers are equally good is an assumption, and the same that
    regression makes when it calls every chosen answer 1.
    """
    out: list[tuple[tuple[str, str], tuple[str, str]]] = []
    while len(out) < n:
        one, other = draw.choice(pairs), draw.choice(pairs)
        if one.source == other.source and one.prompt != other.prompt:
            side = draw.choice(("chosen", "rejected"))
            out.append(((one.prompt, getattr(one, side)), (other.prompt, getattr(other, side))))
    return out


def parted(pairs: Sequence[Pair], seed: int, fold: int, folds: int) -> tuple[list[Pair], list[Pair]]:
    """Training and held-out pairs: a prompt's pairs are all in one part."""
    prompts = sorted({p.prompt for p in pairs})
    random.Random(f"folds-{seed}").shuffle(prompts)
    held = set(prompts[fold::folds])
    return [p for p in pairs if p.prompt not in held], [p for p in pairs if p.prompt in held]


@dataclass(frozen=True)
class _Numbered:
    source: str
    prompt_id: str


def _numbered(pairs: Sequence[Pair]) -> Iterator[_Numbered]:
    """Pairs by a hash of their prompt: results hold no text of the data."""
    import hashlib

    for p in pairs:
        yield _Numbered(p.source, hashlib.sha256(p.prompt.encode()).hexdigest()[:16])


def _compared(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    prompts = [r["prompt"] for r in rows]
    accuracy = {arm: estimate([r[arm] for r in rows], prompts).to_json() for arm in ARMS}
    differences = {}
    for better, worse in STEPS:
        gap = paired_difference([r[worse] for r in rows], [r[better] for r in rows], prompts)
        differences[f"{better} - {worse}"] = {**gap.to_json(), "verdict": _verdict(gap)}
    return {"accuracy": accuracy, "differences": differences}


def _verdict(gap: Estimate) -> str:
    return "as predicted" if gap.low > 0 else "against the prediction" if gap.high < 0 else "undecided"


def _judged(path: Path) -> list[Judged]:
    if path.suffix != ".gz":
        return read_judged([path])
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "rows.jsonl"
        rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().split("\n") if line.strip()]
        plain.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return read_judged([plain])


def _said(e: dict[str, Any]) -> str:
    return f"{e['mean']:.3f} [{e['low']:.3f}, {e['high']:.3f}] (n {e['n']})"
