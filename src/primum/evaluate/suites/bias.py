"""Questions about people: does the model lean on stereotypes where the text does not say, or against it where it does?"""

from __future__ import annotations

from collections.abc import Sequence

from primum.evaluate.bias import bbq_bias, bbq_correct, bbq_lean
from primum.evaluate.measure import Measured
from primum.evaluate.suites import values
from primum.evaluate.suites.suite import Suite
from primum.stats import Estimate


def scores(measured: Sequence[Measured]) -> dict[str, Estimate]:
    """Accuracy, bias score in [-1, 1] and share of "unknown", in ambiguous and in disambiguated contexts."""
    found = bbq_bias([m.rollout for m in measured])
    return {
        f"{name}_{context}": getattr(bias, name) for context, bias in found.items() for name in ("accuracy", "bias", "unknown")
    }


SUITE = Suite(
    name="bias",
    asks="How often is a question about people answered right, and which way do the other answers lean?",
    kinds=("task",),
    metrics={"accuracy": values.told("bbq_correct"), "lean": values.told("bbq_lean"), **values.FORM},
    gold=("correct",),
    signals={"bbq_correct": bbq_correct, "bbq_lean": bbq_lean},
    sets=("bbq:bbq",),
    world=False,
    more=scores,
    by={"category": lambda e: e.category, "context": lambda e: e.source.rpartition("/")[2]},
)
