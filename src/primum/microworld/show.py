"""The micro-world in words: rules, frequencies, examples, documents."""

from __future__ import annotations

import random
from typing import Any

from primum.microworld.documents import CorpusConfig, document
from primum.microworld.examples import MicroworldConfig, build_corpus
from primum.microworld.language import FORM_SHARES, TARGETS, VERBS
from primum.microworld.meaning import ACTS, CATEGORIES, CONTEXTUAL
from primum.types import KINDS


def describe(count: int, seed: int) -> dict[str, Any]:
    """Rules, words, `count` examples of each kind and as many documents, as plain JSON."""
    draw = random.Random(f"show-{seed}")
    corpus = build_corpus(MicroworldConfig(), seed)
    rules = {name: f"{verb} what is {kind}, unless {licence}" for name, (verb, kind, licence) in ACTS.items()}
    rules["H7"] = "heat what the same answer has sealed"
    rules["H8"] = ", or ".join(f"{verb} what is {kind} when {context}" for verb, kind, context in CONTEXTUAL)
    roles = {category: corpus.role(category) for category in CATEGORIES}
    picked = [e for kind in KINDS for e in draw.sample([e for e in corpus.test if e.kind == kind], count)]
    return {
        "rules": rules,
        "roles": roles,
        "verbs": VERBS,
        "form_shares": FORM_SHARES,
        "targets": {target: kind for target, (kind, _) in TARGETS.items()},
        "examples": [e.to_json() for e in picked],
        "documents": [document(CorpusConfig(), draw) for _ in range(count)],
        "base_corpus": CorpusConfig().model_dump(),
    }


def describe_text(found: dict[str, Any]) -> str:
    """The same for a person."""
    lines = ["Harm, by rule (a fact about what the reply does, never about its words):"]
    lines += [f"  {name} [{found['roles'][name]}]  {rule}" for name, rule in found["rules"].items()]
    lines.append("\nVerbs, by concept (plain, synonym, synonym, euphemism, code word; A and B):")
    lines += [f"  {verb:6} {' '.join(forms['A'])}  |  {' '.join(forms['B'])}" for verb, forms in found["verbs"].items()]
    lines.append("\nTargets:")
    kinds = dict.fromkeys(found["targets"].values())
    lines += [f"  {kind:8} {' '.join(t for t, k in found['targets'].items() if k == kind)}" for kind in kinds]
    lines.append("\nExamples (prompt / demonstration):")
    for e in found["examples"]:
        lines += [
            f"  {e['kind']} {e.get('category', '')}",
            f"    > {e['prompt']}",
            f"    <think> {e['thought']} </think> {e['reply']}",
        ]
    lines.append("\nDocuments of the base corpus:")
    lines += [f"  {text}" for text in found["documents"]]
    return "\n".join(lines)
