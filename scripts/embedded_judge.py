"""Train and measure the embedded judge: `python scripts/embedded_judge.py --data DIR [--write] [--json]`.

1. Hold out a fifth of GPTFuzzer's labelled replies: 36 of its 80 questions times 35 of its 77 templates. Train on the
   replies that share neither a question nor a template with them, and on the other sources. Measure.
2. Rotate: 4 folds of questions times 4 of templates, each reply judged by a fit that saw neither.
3. With --write, fit once more on everything, calibrated on the logits of step 2, and write weights and figures.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from primum.agreement import accuracy, auroc, calibration_error
from primum.signals import HARM_WORDS, keyword_harm, refusal
from primum.signals.embedded import WEIGHTS, logit
from primum.signals.embedded_features import BUCKETS, Places, judged, windows
from primum.types import Example, Rollout

QUESTIONS, TEMPLATES = 80, 77  # of GPTFuzzer's train.csv, whose rows are every template of question 0, then of 1, …
HELD_QUESTIONS, HELD_TEMPLATES = 36, 35
FOLDS = 4
L2 = 5e-5
OTHERS, EXCERPTS = 0.3, 0.3  # weight of a row of another source, and of an excerpt, against one of GPTFuzzer's replies
EXCERPT_WORDS = (12, 25, 50)  # so that short replies are known too

Fit = tuple[NDArray[np.float64], float]


@dataclass(frozen=True)
class Text:
    """A labelled reply: its windows and two excerpts, to be trained on, and what it is judged by."""

    reply: str
    harmful: bool
    weight: float
    found: list[Places]
    windows: list[Places]
    excerpts: list[Places]
    question: int = -1
    template: int = -1


def gptfuzzer(data: Path) -> Iterator[tuple[str, bool, int, int]]:
    """Its labelled replies with question and template; the template is the row's place among its question's 77."""
    csv.field_size_limit(2**27)
    with (data / "gptfuzzer" / "train.csv").open(encoding="utf-8", newline="") as file:
        for i, row in enumerate(csv.DictReader(file)):
            question, template = divmod(i, TEMPLATES)
            if int(row["question"]) != question:
                sys.exit(f"gptfuzzer/train.csv, row {i}: question {row['question']} where {question} was expected")
            yield row["Response"], row["label"] == "1", question, template


def others(data: Path) -> Iterator[tuple[str, bool]]:
    """Replies of the other sources; STAR-1's thoughts count as replies, and its rows from GPTFuzzer are left out."""
    for row in json.loads((data / "star1" / "STAR-1.json").read_text(encoding="utf-8")):
        if row["source"] != "GPTFuzz":
            thought, _, reply = row["response"].partition("</think>")
            yield reply, False
            yield thought.replace("<think>", ""), False
    for row in _jsonl(data / "coconot" / "coconot_pref.jsonl"):
        yield row["chosen"], False
    for i, row in enumerate(_jsonl(data / "gsm8k" / "train.jsonl")):
        if i % 8 == 0:
            yield row["answer"], False
    for row in _jsonl(data / "openai_rbr_gold" / "train.jsonl"):
        yield row["completion"][-1]["content"], bool(row["propositions"]["disallowed_content"])


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def read(data: Path) -> tuple[list[Text], list[Text]]:
    """GPTFuzzer's replies, and those of the other sources."""
    rng = np.random.default_rng(0)
    ours = [Text(r, h, 1.0, judged(r), windows(r), _excerpts(r, rng), q, t) for r, h, q, t in gptfuzzer(data)]
    theirs = [Text(r, h, 1.0 if h else OTHERS, judged(r), windows(r), _excerpts(r, rng)) for r, h in others(data)]
    return ours, theirs


def _excerpts(reply: str, rng: np.random.Generator) -> list[Places]:
    words = reply.split()
    found = []
    for length in rng.choice(EXCERPT_WORDS, size=2):
        if len(words) > length + 10:
            start = int(rng.integers(0, len(words) - length))
            found += windows(" ".join(words[start : start + length]))[:1]
    return found


def fit(texts: Iterable[Text]) -> Fit:
    """Logistic regression with an L2 penalty, by L-BFGS; of a long harmful reply only the beginning is known to be harmful."""
    rows = [(p, t.harmful, t.weight) for t in texts for p in (t.windows[:2] if t.harmful else t.windows)]
    rows += [(p, t.harmful, t.weight * EXCERPTS) for t in texts for p in t.excerpts]
    lengths = np.array([len(p) for p, _, _ in rows])
    starts = torch.tensor(np.concatenate([[0], np.cumsum(lengths)]))
    places = torch.tensor(np.concatenate([p for p, _, _ in rows]))
    values = torch.tensor(np.repeat(1 / np.sqrt(lengths), lengths), dtype=torch.float32)
    x_NF = torch.sparse_csr_tensor(starts, places, values, (len(rows), BUCKETS))
    x_FN = x_NF.to_sparse_coo().t().to_sparse_csr()
    y_N = torch.tensor([float(h) for _, h, _ in rows])
    share_N = torch.tensor([w for _, _, w in rows])
    share_N = share_N / share_N.sum()
    line = torch.zeros(BUCKETS + 1, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        with torch.no_grad():
            w = line[:-1]
            z_N = (x_NF @ w[:, None])[:, 0] + line[-1]
            pull_N = share_N * (torch.sigmoid(z_N) - y_N)
            line.grad = torch.cat([(x_FN @ pull_N[:, None])[:, 0] + L2 * w, pull_N.sum()[None]])
            each_N = torch.nn.functional.binary_cross_entropy_with_logits(z_N, y_N, reduction="none")
            return (share_N * each_N).sum() + L2 / 2 * (w * w).sum()

    optimiser.step(loss)
    found = line.detach().numpy().astype(np.float64)
    return found[:-1], float(found[-1])


def platt(logits: NDArray[np.float64], harmful: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and shift that make logits of held-out replies probabilities (Platt 1999), by Newton's method."""
    slope, shift = 1.0, 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-(slope * logits + shift)))
        w, gap = p * (1 - p), p - harmful
        gradient = np.array([(gap * logits).sum(), gap.sum()])
        cross = (w * logits).sum()
        slope, shift = np.array([slope, shift]) - np.linalg.solve([[(w * logits**2).sum(), cross], [cross, w.sum()]], gradient)
    return float(slope), float(shift)


def rotated(ours: Sequence[Text], theirs: Sequence[Text], folds: int) -> NDArray[np.float64]:
    """Each reply's logit by a fit that saw neither its question nor its template."""
    rng = np.random.default_rng(1)
    fold_q, fold_t = rng.permutation(QUESTIONS) % folds, rng.permutation(TEMPLATES) % folds
    logits = np.full(len(ours), np.nan)
    for a in range(folds):
        for b in range(folds):
            line = fit([*(t for t in ours if fold_q[t.question] != a and fold_t[t.template] != b), *theirs])
            for i, t in enumerate(ours):
                if fold_q[t.question] == a and fold_t[t.template] == b:
                    logits[i] = logit(t.found, *line)
    return logits


def measured(texts: Sequence[Text], harm: Sequence[float]) -> dict[str, Any]:
    """Agreement with the labels, beside what rules say of the same replies; intervals over questions."""
    truth, names = [float(t.harmful) for t in texts], [str(t.question) for t in texts]
    rollouts = [Rollout(Example(str(i), "", "harmful"), "", t.reply) for i, t in enumerate(texts)]
    strings = [1 - x for x in refusal(rollouts)]
    words = keyword_harm(rollouts, HARM_WORDS)
    asked = [i for i, x in enumerate(strings) if x > 0]
    some = [harm[i] for i in asked], [truth[i] for i in asked], [names[i] for i in asked]
    return {
        "replies": len(texts),
        "harmful": int(sum(truth)),
        "auroc": auroc(harm, truth, names).to_json(),
        "accuracy_at_half": accuracy([float(h >= 0.5) for h in harm], truth, names).to_json(),
        "calibration_error": calibration_error(harm, truth, names).to_json(),
        "auroc_refusal_strings": auroc(strings, truth, names).to_json(),
        "auroc_keyword_harm": auroc(words, truth, names).to_json(),
        "not_refused": len(asked),
        "auroc_not_refused": auroc(*some).to_json(),
    }


def held_out(ours: Sequence[Text], theirs: Sequence[Text]) -> dict[str, Any]:
    """Step 1: the split by question and by template, calibrated within its training part."""
    rng = np.random.default_rng(0)
    held_q = set(rng.permutation(QUESTIONS)[:HELD_QUESTIONS].tolist())
    held_t = set(rng.permutation(TEMPLATES)[:HELD_TEMPLATES].tolist())
    known = [t for t in ours if t.question not in held_q and t.template not in held_t]
    fresh = [t for t in ours if t.question in held_q and t.template in held_t]
    inner = rotated(known, theirs, 2)
    slope, shift = platt(inner, np.array([float(t.harmful) for t in known]))
    line = fit([*known, *theirs])
    harm = _probability(np.array([logit(t.found, *line) for t in fresh]), slope, shift)
    return {"trained_on": len(known), "questions": HELD_QUESTIONS, "templates": HELD_TEMPLATES, **measured(fresh, harm)}


def _probability(logits: NDArray[np.float64], slope: float, shift: float) -> list[float]:
    return [float(p) for p in 1 / (1 + np.exp(-(slope * logits + shift)))]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True, help="folder with gptfuzzer, star1, coconot, gsm8k, openai_rbr_gold")
    asked.add_argument("--write", action="store_true", help="fit on everything and replace the weights that ship")
    asked.add_argument("--json", action="store_true", help="print the figures as JSON, nothing else")
    given = asked.parse_args()
    torch.manual_seed(0)
    ours, theirs = read(given.data)
    figures = {"sources": {"gptfuzzer": len(ours), "others": len(theirs)}, "held_out_fifth": held_out(ours, theirs)}
    if not given.json:
        print(json.dumps(figures, indent=1))
    logits = rotated(ours, theirs, FOLDS)
    slope, shift = platt(logits, np.array([float(t.harmful) for t in ours]))
    figures["rotated"] = measured(ours, _probability(logits, slope, shift))
    if given.write:
        weights, bias = fit([*ours, *theirs])
        np.savez_compressed(WEIGHTS, weights=(weights * slope).astype(np.float16), bias=np.float64(bias * slope + shift))
        WEIGHTS.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures if given.json else {"rotated": figures["rotated"]}, indent=1))


if __name__ == "__main__":
    main()
