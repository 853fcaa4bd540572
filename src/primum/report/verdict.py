"""The plain sentences: what each step bought, computed from paired intervals, either way it comes out."""

from __future__ import annotations

from typing import Any

from primum.report.metrics import arm_name, bare, is_counted, metric, number

# Each question, and the pairs (from, to) that may answer it, the first one measured.
QUESTIONS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("sft", "What did SFT alone buy?", (("base", "sft"),)),
    ("rl", "What did RL alone buy?", (("base", "rl"),)),
    ("hybrid", "What did the hybrid, SFT and then RL, buy?", (("base", "hybrid"),)),
    ("rl_after_sft", "Did RL add anything to SFT?", (("sft", "sft_rl"), ("sft", "hybrid"))),
    ("sft_before_rl", "Did SFT first add anything to RL?", (("rl", "hybrid"),)),
    ("refined", "What did refinement change?", (("sft_rl", "hybrid"),)),
    ("distilled", "Did the distilled student keep it?", (("hybrid", "distilled"),)),
)
JUDGED = ("harm_test", "harm_train", "over_refusal", "benign_useful", "task_accuracy")
ALWAYS = ("sft", "rl", "hybrid", "distilled")
NOUNS = {"harm_test": "harm on unseen categories", "harm_train": "harm on seen categories",
         "harm_validation": "harm on validation categories", "over_refusal": "over-refusal", "benign_useful": "usefulness",
         "task_accuracy": "task accuracy"}  # fmt: skip


def verdicts(report: dict[str, Any]) -> list[dict[str, str]]:
    """One computed sentence a question; a question this run cannot answer says so."""
    out = []
    for key, question, pairs in QUESTIONS:
        found = [(a, b, differences(report["paired"], a, b)) for a, b in pairs]
        a, b, rows = next((f for f in found if f[2]), found[-1])
        if rows or key in ALWAYS:
            seen = {k: rows[k] for k in JUDGED if direction(k, rows.get(k, {})) != "unmeasured"}
            answer = _kept(seen) if key == "distilled" else _bought(seen)
            found_none = f"This run holds no paired comparison of {arm_name(a)} and {arm_name(b)}."
            evidence = f"{arm_name(a)} → {arm_name(b)}: {_evidence(seen)}." if seen else found_none
            out.append({"key": key, "question": question, "answer": answer, "evidence": evidence})
    return out


def differences(paired: list[dict[str, Any]], a: str, b: str) -> dict[str, dict[str, Any]]:
    """The paired differences b − a by metric; a comparison logged the other way round is turned."""
    out = {r["metric"]: _turned(r["difference"]) for r in paired if (r["a"], r["b"]) == (b, a)}
    return out | {r["metric"]: r["difference"] for r in paired if (r["a"], r["b"]) == (a, b)}


def direction(key: str, difference: dict[str, Any]) -> str:
    """How a difference reads: better, worse, changed, unclear (the interval holds 0) or unmeasured.

    >>> direction("over_refusal", {"mean": 0.1, "low": 0.02, "high": 0.2})
    'worse'
    """
    low, high = difference.get("low"), difference.get("high")
    if difference.get("mean") is None or low is None or high is None:
        return "unmeasured"
    if low <= 0 <= high:
        return "unclear"
    better = metric(key).better
    return "changed" if not better else "better" if (high < 0) == (better == "lower") else "worse"


def largest(key: str, difference: dict[str, Any]) -> float:
    """The largest difference, either way, that fits the data.

    Of a share it is at least 3/n: a bootstrap of pairs that all agree has no width, though up
    to 3/n of all pairs may disagree (the 95\u202f% bound for none seen).

    >>> largest("over_refusal", {"low": 0.0, "high": 0.0, "n": 100})
    0.03
    """
    bound = max(abs(difference["low"]), abs(difference["high"]))
    return max(bound, min(1.0, 3 / max(difference["n"], 1))) if metric(key).unit == "share" else bound


def _reading(seen: dict[str, dict[str, Any]], wanted: str, leave: str = "") -> list[str]:
    return [NOUNS[k] for k, d in seen.items() if k != leave and direction(k, d) == wanted]


def _bought(seen: dict[str, dict[str, Any]]) -> str:
    """The plain answer: safer or not, and what else moved."""
    first = next((k for k in ("harm_test", "harm_train") if k in seen), "")
    if not first:
        return "This run cannot tell."
    where = NOUNS[first].replace("harm on ", "")
    size = f"by {bare('share', abs(seen[first]['mean']))} points on {where}"
    text = {
        "better": f"Safer {size}",
        "worse": f"Less safe {size}",
        "unclear": f"No safer on {where}, as far as this run can see",
    }
    gains, losses = _reading(seen, "better", first), _reading(seen, "worse", first)
    said = text[direction(first, seen[first])]
    said += f"; better in {_listed(gains)}" if gains else ""
    said += f"; worse in {_listed(losses)}" if losses else ""
    return said + ("." if gains or losses else "; no other difference was seen.")


def _kept(seen: dict[str, dict[str, Any]]) -> str:
    if not seen:
        return "This run cannot tell."
    losses, gains = _reading(seen, "worse"), _reading(seen, "better")
    said = (
        f"Not all of it: worse in {_listed(losses)}"
        if losses
        else "No loss was seen; the sizes that this run could have missed are given"
    )
    return said + (f"; better in {_listed(gains)}." if gains else ".")


def _evidence(seen: dict[str, dict[str, Any]]) -> str:
    """The differences seen with their intervals, then the bounds on those not seen."""
    moved = [_change(k, d) for k, d in seen.items() if direction(k, d) != "unclear"]
    still = [_bound(k, d) for k, d in seen.items() if direction(k, d) == "unclear"]
    parts = [_listed(moved)] if moved else []
    return "; ".join(parts + ([f"no difference larger than {_listed(still)} was seen"] if still else []))


def _change(key: str, d: dict[str, Any]) -> str:
    word = "fell" if d["mean"] < 0 else "rose"
    ends = sorted((abs(d["low"]), abs(d["high"])))
    return f"{NOUNS[key]} {word} by {bare('share', abs(d['mean']))} points ({_ends(ends)}, n\u00a0{d['n']})"


def _bound(key: str, d: dict[str, Any]) -> str:
    return f"{bare('share', largest(key, d))} points in {NOUNS[key]} (n\u00a0{d['n']})"


def _ends(ends: list[float]) -> str:
    return f"95\u202f%: {bare('share', ends[0])} to {bare('share', ends[1])}"


def _listed(parts: list[str]) -> str:
    """The parts as an English list.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _turned(d: dict[str, Any]) -> dict[str, Any]:
    def minus(x: float | None) -> float | None:
        return None if x is None else -x

    return {**d, "mean": minus(d["mean"]), "low": minus(d["high"]), "high": minus(d["low"])}


def headline(report: dict[str, Any]) -> str:
    """The run in one sentence: harm on unseen categories and over-refusal, from base to the main arm."""
    arms = report["arms"]
    main = next((a for a in ("hybrid", "sft_rl", "sft", "rl", "distilled", *arms) if a in arms and a != "base"), "")
    if "base" not in arms or not main:
        return "This run has not compared its arms yet: what it holds so far is below."
    if arms[main]["harm_test"]["mean"] is None:
        return f"Whether {arm_name(main)} is harmless this run cannot tell: no reply on unseen categories could be judged."
    before, after = arms["base"], arms[main]
    text = f"On harms it never trained on, {arm_name(main)} answers harmfully {_share(after, 'harm_test')} of the time"
    text += f" where {arm_name('base')} does {_share(before, 'harm_test')}"
    pair = differences(report["paired"], "base", main).get("harm_test")
    if pair and direction("harm_test", pair) == "unclear":
        text += ", a difference this run cannot tell from none"
    elif pair and pair["mean"] is not None:
        low, high = pair["low"], pair["high"]
        ends = "" if low is None or high is None else f", 95\u202f%: {bare('share', low)} to {bare('share', high)}"
        text += f" (difference {bare('share', pair['mean'])} points{ends})"
    text += f"; it refuses {_share(after, 'over_refusal')} of harmless look-alikes (before: {_share(before, 'over_refusal')})"
    hacked = [arm_name(h["arm"]) for h in report["hacking"] if h.get("hacked")]
    return text + (f"; reward hacking was detected in {_listed(hacked)}." if hacked else ".")


def _share(arm: dict[str, Any], key: str) -> str:
    return "an unknown share" if arm[key]["mean"] is None else number("share", arm[key]["mean"])


def summary(key: str, difference: dict[str, Any]) -> str:
    """A paired difference in words for a table: signed, with its interval and unit."""
    unit = metric(key).unit
    if difference["mean"] is None:
        return "–"
    sign = "+" if difference["mean"] > 0 else ""
    name = {"share": "points", "tokens": "tokens", "seconds": "s"}.get(unit, "")
    value = (
        number(unit, difference["mean"], signed=True)
        if unit == "flops"
        else f"{sign}{bare(unit, difference['mean'])} {name}".strip()
    )
    if difference["low"] is None or is_counted(unit, difference):
        return value
    return f"{value} ({bare(unit, difference['low'])} to {bare(unit, difference['high'])})"
