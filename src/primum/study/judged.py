"""From the numbers of arms and seeds to claims, targets and a verdict: of one run, or of several joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from primum.config import differences
from primum.run import plain
from primum.study.claims import Found, verdict
from primum.study.measures import LABELS
from primum.types import BadInput

Differ = Callable[[str, str, str], Mapping[str, Mapping[str, Any]]]
TABLE = (
    "harm_seen", "harm_novel", "over_refusal", "useful", "accuracy", "off_language", "pairs_right", "contradictions", "tokens",
)  # fmt: skip
UNSEEN = "Categories held out for the test:"
SAME = ("experiment", "question", "prediction", "model", "settings", "config")


def judged(module: ModuleType, document: dict[str, Any], differ: Differ) -> dict[str, Any]:
    """The document with its table, pairs, claims, targets and verdict, all computed from the arms' numbers and `differ`."""
    arms = document["arms"]
    notes = [note for note in document["notes"] if not note.startswith(UNSEEN)]
    found = Found(_of(arms, "metrics"), differ, _of(arms, "extra"), signed=getattr(module, "SIGNED", ()))
    claims, targets = list(module.claims(found)), list(getattr(module, "targets", lambda found: [])(found))
    for a, b, metric in getattr(module, "PAIRS", ()):
        found.gap(a, b, metric)
    used = found.used | {m for _, _, m in found.asked}
    names = {m for told in arms.values() for seed in told["seeds"].values() for m in seed["metrics"]}
    labels = {**LABELS, **getattr(module, "LABELS", {})}
    pairs = [{"metric": m, "a": a, "b": b, "seeds": seeds, "pooled": found.gap(a, b, m).to_json()}
             for (a, b, m), seeds in found.asked.items()]  # fmt: skip
    return plain({
        **document, "notes": [*notes, *_unseen(arms)],
        "table": {arm: {m: found.value(arm, m).to_json() for m in sorted(names)} for arm in arms}, "pairs": pairs,
        "metrics": {name: told for name, told in labels.items() if name in names},
        "shown": [m for m in getattr(module, "SHOWN", TABLE) if m in names], "pareto": getattr(module, "PARETO", None),
        "used": sorted(used),
        "claims": [c.to_json() for c in claims], "targets": [t.to_json() for t in targets], "verdict": verdict(claims),
    })  # fmt: skip


def _unseen(arms: Mapping[str, Any]) -> list[str]:
    """Which harm categories were unseen, and on how many seeds or folds: they differ, and few seeds do not hold all alike."""
    roles = {unit: seed["extra"].get("roles") or {} for told in arms.values() for unit, seed in told["seeds"].items()}
    counts = Counter(name for told in roles.values() for name, role in told.items() if role == "test")
    if not counts:
        return []
    said = ", ".join(f"{name} on {count}" for name, count in sorted(counts.items()))
    return [f"{UNSEEN} {said} of {len(roles)} seeds or folds. A mean over seeds weighs them so."]


def again(module: ModuleType, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document judged anew from the numbers that it holds."""
    return joined(module, [document])


def joined(module: ModuleType, documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One document of the seeds of several, which must have asked the same with the same settings; of a seed that two have,
    the first one's numbers count."""
    first = documents[0]
    arms: dict[str, Any] = {}
    pairs: dict[tuple[str, str, str], dict[str, Any]] = {}
    for document in documents:
        if document is not first:
            alike(first, document)
        for name, told in document["arms"].items():
            mine = arms.setdefault(name, {**told, "seeds": {}})
            mine["seeds"] = _added(mine["seeds"], told["seeds"])
        for told in document["pairs"]:
            key = told["a"], told["b"], told["metric"]
            pairs[key] = _added(pairs.get(key, {}), told["seeds"])

    def differ(a: str, b: str, metric: str) -> Mapping[str, Mapping[str, Any]]:
        if (a, b, metric) not in pairs:
            raise BadInput(f"no difference {metric}: {b} - {a} is kept", "--with", "run these seeds again")
        return pairs[(a, b, metric)]

    seeds = list(dict.fromkeys(seed for document in documents for seed in document["seeds"]))
    revisions = [git for d in documents for git in str(d.get("environment", {}).get("git", "unknown")).split(", ")]
    told = {
        **first,
        "arms": arms,
        "seeds": seeds,
        "curves": _curves(documents),
        "notes": list(dict.fromkeys(note for d in documents for note in d["notes"])),
        "failures": _failures(documents),
        "command": _command(documents),
        "environment": {**documents[-1]["environment"], "git": ", ".join(dict.fromkeys(revisions))},
    }
    return judged(module, told, differ)


def complete(document: Mapping[str, Any]) -> set[str]:
    """The seeds or folds that every arm of a document has, and of which nothing failed."""
    lacking = {unit for failure in document["failures"] for unit in failure.get("seeds", document["seeds"])}
    every = [set(told["seeds"]) for told in document["arms"].values()]
    return {unit for unit in document["seeds"] if unit not in lacking and all(unit in seeds for seeds in every)}


def _failures(documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The failures of all, but those of seeds that another document has whole."""
    whole = {unit for document in documents for unit in complete(document)}
    return [f for d in documents for f in d["failures"] if not set(f.get("seeds", d["seeds"])) <= whole]


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Refuse to join results that asked something else, with other settings, or by other tasks."""
    known = [key for key in SAME if key in one and key in other]
    changed = differences({k: one[k] for k in known}, {k: other[k] for k in known})
    if changed:
        raise BadInput(f"results of different experiments, {changed[0]}", "--with", "join runs of the same settings")
    if not one.get("tasks") or one["tasks"] != other.get("tasks"):
        what = "the same settings, but other tasks: from another version of Primum, or your files hold something else now"
        raise BadInput(what, "--with", "run all seeds again")


def _curves(documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The curves of all, each seed's line once."""
    out: dict[str, dict[str, Any]] = {}
    for document in documents:
        for curve in document["curves"]:
            mine = out.setdefault(curve["title"], {**curve, "arms": {}})
            if counts := [told["n"] for told in (mine, curve) if told.get("n")]:
                mine["n"] = min(counts)
            for name, lines in curve["arms"].items():
                mine["arms"][name] = _added(mine["arms"].get(name, {}), lines)
    return list(out.values())


def _command(documents: Sequence[Mapping[str, Any]]) -> str:
    """The commands one after another, the later ones joining what those before them left."""
    first, *more = dict.fromkeys(d["command"] for d in documents)
    return "; ".join([first, *(f"{each} --with runs/experiments/{documents[0]['experiment']}/result.json" for each in more)])


def _added(mine: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`mine`, then what of `more` it has not."""
    return {**mine, **{key: value for key, value in more.items() if key not in mine}}


def _of(arms: Mapping[str, Any], part: str) -> dict[str, dict[str, Any]]:
    return {name: {unit: seed[part] for unit, seed in told["seeds"].items()} for name, told in arms.items()}
