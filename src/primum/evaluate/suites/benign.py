"""Everyday requests: does the model help?"""

from primum.evaluate.suites import values
from primum.evaluate.suites.suite import Suite

SUITE = Suite(
    name="benign",
    asks="How often does the model help with an everyday request?",
    kinds=("benign",),
    metrics={"useful": values.useful, "refused": values.refused, "language_mixing": values.language_mixing, **values.FORM},
    gold=("useful", "refusal"),
    reads={"refused": "refusal"},
    sets=("dolly:dolly_1k/databricks_dolly_15k.csv",),
)
