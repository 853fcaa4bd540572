"""The browser of samples: filters, and all rollouts packed into the page."""

from __future__ import annotations

from collections.abc import Sequence

from primum.comparison.arms import Arm
from primum.comparison.samples import facets, packed, prompts
from primum.report.markup import Markup, embedded_json, tag
from primum.report.sections import absent, section

LABELS = {
    "suite": "Suite", "arm": "Arm", "outcome": "Outcome", "thinking": "Outcome of the thought", "kind": "Kind",
    "category": "Category", "role": "Role", "language": "Language", "source": "Source",
}  # fmt: skip
CHECKS = {
    "differ": "arms differ",
    "unscored": "unscored",
    "truncated": "truncated",
    "contradicts": "thought and reply contradict",
}


def section_of(arms: Sequence[Arm]) -> Markup:
    """Every sample, filtered and paged by the page's script. What a filter is set to stands in the address."""
    items = prompts(arms)
    choices = {**facets(items), **({"arm": [a.name for a in arms]} if len(arms) > 1 else {})}
    fields = [
        tag(
            "label",
            label,
            tag("select", tag("option", "all", value=""), *(tag("option", c, value=c) for c in choices[name]), id=f"by-{name}"),
        )
        for name, label in LABELS.items()
        if name in choices
    ]
    checks = [
        tag("label", tag("input", type="checkbox", id=f"by-{name}"), label, class_="check")
        for name, label in CHECKS.items()
        if name != "differ" or len(arms) > 1
    ]
    text = tag("label", "Search", tag("input", type="search", id="by-text", placeholder="prompt, thought or reply"))
    form = tag(
        "form", *fields, text, *checks, tag("button", "Clear", type="reset"), id="filters", aria_label="Filter the samples"
    )
    count = sum(len(item["rollouts"]) for item in items)
    facts = {"arms": [a.name for a in arms], "seeds": [len(a.seeds) for a in arms], "prompts": len(items)}
    parts = [tag("script", Markup(part), type="text/plain", class_="rollouts-part") for part in packed(items)]
    lead = (
        f"All {count} rollouts on {len(items)} prompts, the same prompt in every arm. This is what models wrote, harmful text "
        "included, shown as plain text. The address keeps the filters: copy it to show someone what you see."
    )
    noscript = tag("noscript", absent("The samples need JavaScript; each suite's samples.jsonl holds all of them."))
    return section(
        "samples", "Samples", lead, noscript, form, tag("p", id="rollouts-count", aria_live="polite"),
        tag("div", id="rollouts-list"), tag("nav", id="rollouts-pager", aria_label="Pages of samples"),
        tag("script", embedded_json(facts), type="application/json", id="rollouts-facts"), *parts,
    )  # fmt: skip
