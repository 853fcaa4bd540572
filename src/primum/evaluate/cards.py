"""What is known of the judges' errors, beside the numbers that rest on them: their cards, and rates corrected by these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from primum.evaluate.judge_card import JudgeCard, advice, beside, check_card, corrected, read_card
from primum.evaluate.measure import Measured
from primum.evaluate.suites import Suite
from primum.stats import mean
from primum.types import BadInput


class Cards:
    """The cards of the signals that judge an evaluation, by signal; `digests` are `judge_digest` of each.

    A card of a judge that is not asked here, or that was changed since, is bad input.
    """

    def __init__(self, paths: Sequence[str], digests: Mapping[str, str]) -> None:
        self.of: dict[str, JudgeCard] = {}
        for path in paths:
            card = read_card(path)
            signals = [name for name, digest in digests.items() if digest == card.digest]
            if not signals:
                check_card(card, _nearest(card, digests), path)
            if twice := [name for name in signals if name in self.of]:
                raise BadInput(f"two cards of the judge of {twice[0]}", path, "name one card for each judge")
            self.of |= dict.fromkeys(signals, card)

    def to_json(self) -> list[dict[str, Any]]:
        """Each card as one line to print beside its numbers, and the signals that it is of."""
        cards = {card.digest: card for card in self.of.values()}
        return [
            {"reads": [n for n, c in self.of.items() if c.digest == digest], "beside": beside(card), "advice": advice(card),
             "signal": card.signal, "digest": digest, "labels": card.labels, "date": card.date}
            for digest, card in cards.items()
        ]  # fmt: skip

    def corrected(self, suite: Suite, measured: Sequence[Measured]) -> dict[str, Any]:
        """The true rate behind each metric that is a judge's rate, by Rogan and Gladen, with the card's uncertainty.

        The judge's rate at the card's threshold, over as many independent replies as there are meanings.
        """
        found: dict[str, Any] = {}
        for metric, signal in suite.reads.items():
            card = self.of.get(signal)
            if card is None or card.threshold is None:
                continue
            rows = [m for m in measured if suite.metrics[metric](m) is not None]
            at = [_found(m, signal, card.threshold) for m in rows]
            meanings = len({m.rollout.example.cluster for m, v in zip(rows, at, strict=True) if not math.isnan(v)})
            rate = mean(at)
            if not math.isnan(rate):
                found[metric] = {
                    **corrected(rate * meanings, meanings, card).to_json(), "raw": rate, "threshold": card.threshold,
                    "signal": card.signal,
                }  # fmt: skip
        return found


def _found(m: Measured, signal: str, threshold: float) -> float:
    """1 from the threshold on, 0 below; what was cut short before it got there is not known."""
    value = getattr(m, signal)
    return math.nan if math.isnan(value) or (m.rollout.truncated and value < threshold) else float(value >= threshold)


def _nearest(card: JudgeCard, digests: Mapping[str, str]) -> str:
    """The digest to blame: that of harm, unless the card is of refusal."""
    return digests["refusal" if card.signal == "refusal" else "harm_in_reply"]
