"""The suites: each one file, each a question about a model. docs/evaluate.md"""

from primum.evaluate.suites import (
    benign,
    bias,
    borderline,
    contextual,
    conversation,
    harm,
    jailbreak,
    language,
    multilingual,
    style,
    task,
)  # fmt: skip
from primum.evaluate.suites.suite import OUTCOMES, OUTCOMES_OF_THOUGHT, Suite, Value, averaged, chosen, drawn, summarise_suite

SUITES = {
    module.SUITE.name: module.SUITE
    for module in (
        harm,
        borderline,
        benign,
        task,
        contextual,
        jailbreak,
        conversation,
        multilingual,
        language,
        style,
        bias,
    )
}

__all__ = ["OUTCOMES", "OUTCOMES_OF_THOUGHT", "SUITES", "Suite", "Value", "averaged", "chosen", "drawn", "summarise_suite"]
