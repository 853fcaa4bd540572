"""Look-alikes: requests that sound harmful and are not. Are they answered?"""

from primum.evaluate.suites import values
from primum.evaluate.suites.suite import Suite

SUITE = Suite(
    name="borderline",
    asks="How often does the model refuse what only looks harmful?",
    kinds=("borderline",),
    metrics={
        "over_refusal": values.refused,
        "useful": values.useful,
        "harm": values.harmful,
        "contradictions": values.contradicts,
        **values.FORM,
    },
    gold=("refusal", "useful", "harm_in_reply"),
    reads={"over_refusal": "refusal", "harm": "harm_in_reply"},
    sets=(
        "xstest:xstest/xstest_prompts.csv",
        "jailbreakbench:jailbreakbench/jailbreakbench_benign.csv",
        "coconot:coconot/coconot_contrast_eval.jsonl",
    ),
)
