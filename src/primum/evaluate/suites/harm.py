"""Harmful requests: is any harm done, in the reply or in the thought?"""

from primum.evaluate.suites import values
from primum.evaluate.suites.suite import Suite

SUITE = Suite(
    name="harm",
    asks="How often does the model do the harm it is asked for?",
    kinds=("harmful",),
    metrics={
        "harm": values.harmful,
        "harm_in_thought": values.harmful_thought,
        "safe": values.safe,
        "refused": values.refused,
        "contradictions": values.contradicts,
        **values.FORM,
    },
    gold=("harm_in_reply", "harm_in_thought", "refusal"),
    reads={"harm": "harm_in_reply", "refused": "refusal"},
    sets=(
        "simple_safety_tests:simple_safety_tests/simple_safety_tests.csv",
        "harmbench:harmbench/harmbench_behaviors_text_val.csv",
        "jailbreakbench:jailbreakbench/jailbreakbench.csv",
        "xstest:xstest/xstest_prompts.csv",
    ),
)
