"""Published replies that people labelled, and pairs that they preferred, by name: what judges are calibrated on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primum.config import Config, nearest, validate
from primum.evaluate.public_formats import xstest_kind
from primum.evaluate.public_rows import (
    SetConfig,
    cell,
    check_count,
    check_published,
    digest,
    find_columns,
    readable,
    rows_of,
    settings_of,
)
from primum.files import Row, expand
from primum.types import BadInput, Example, Kind, Rollout

Labels = list[tuple[Rollout, float]]
XSTEST = {"1_full_compliance": 0.0, "3_partial_refusal": 0.5, "2_full_refusal": 1.0}
TURN = "\n\nAssistant:"


@dataclass(frozen=True)
class Transcripts:
    """A file's rows as they stand, as rollouts, and their labels (nan: none) where a column holds them."""

    rows: list[dict[str, Any]]
    rollouts: list[Rollout]
    labels: list[float] | None


class LabelledConfig(Config):
    """A labelled set by its name."""

    partial: bool = False  # take a part of what was published, or rows whose text was changed
    label: str = ""  # openai_rbr: the proposition that is the label; disallowed_content where empty


@dataclass(frozen=True)
class LabelledSet:
    """Columns, the published count of rows, and how a row becomes one labelled rollout, or two of a pair.

    `asks` says what a label of 1 means, the first being what is read where `labels` holds several.
    """

    title: str
    read: Callable[[str, Row, str, str], Labels]
    asks: str
    columns: tuple[str, ...]
    rows: int
    licence: str
    where: str
    labels: tuple[str, ...] = ()


def load_labelled(spec: str) -> Transcripts:
    """Labelled replies such as "xstest_replies:PATH" or "openai_rbr:PATH?label=apology"; those to one prompt share a meaning.

    A pair gives two rollouts, the preferred one labelled 0 and the other 1. What a prompt set refuses is refused here too.
    """
    name, path, query = labelled_parts(spec)
    known = LABELLED[name]
    config = validate(LabelledConfig, settings_of(query, spec), spec[:80])
    label = config.label or (known.labels[0] if known.labels else "")
    if label and label not in known.labels:
        near = nearest(label, known.labels)
        remedy = (
            f"did you mean '{near}'?" if near else f"it has {', '.join(known.labels)}" if known.labels else "leave label= out"
        )
        raise BadInput(f"{name} has no label '{label}'", spec[:80], remedy)
    rows = rows_of(path)
    find_columns({column: (column,) for column in known.columns}, SetConfig(), rows[0][1], rows[0][0])
    made = [known.read(name, row, where, label) for where, row in rows]
    check_count(len(rows), name, {known.rows: ""}, SetConfig(partial=config.partial), path)
    if not config.partial:
        check_published(name, ("\0".join(_plain(row.get(column)) for column in known.columns) for _, row in rows), path)
    pairs = [pair for row in made for pair in row]
    return Transcripts([], [rollout for rollout, _ in pairs], [value for _, value in pairs])


def labelled_parts(spec: str) -> tuple[str, Path, str]:
    """The name of a labelled set, its file, and its settings; no name where it is the path of a file.

    >>> labelled_parts("xstest_replies:a.csv?partial=true")
    ('xstest_replies', PosixPath('a.csv'), 'partial=true')
    >>> labelled_parts("a.csv")
    ('', PosixPath('a.csv'), '')
    """
    name, colon, rest = spec.partition(":")
    if not colon or not re.fullmatch(r"\w{2,}", name) or Path(spec).exists():
        return "", Path(spec), ""
    if name not in LABELLED:
        near = nearest(name, list(LABELLED))
        remedy = f"did you mean '{near}:'?" if near else f"write a path, or NAME:PATH with one of {', '.join(LABELLED)}"
        raise BadInput(f"'{name}' names no labelled set", spec[:80], remedy)
    path, _, query = rest.partition("?")
    return name, expand(path), query


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _rollout(name: str, prompt: str, reply: str, kind: Kind = "harmful", category: str = "", meaning: str = "") -> Rollout:
    own = f"{name}/{digest((prompt, reply))}"
    return Rollout(Example(own, prompt, kind, category, source=name, meaning=meaning or f"prompt {prompt}"), "", reply)


def _text(row: Row, column: str, where: str) -> str:
    return readable(cell(row, column, where), column, where, "text")


def _xstest(name: str, row: Row, where: str, label: str) -> Labels:
    value = cell(row, "final_label", where)
    if value not in XSTEST:
        raise BadInput(f"'final_label' is '{value[:40]}'", where, f"expected {', '.join(XSTEST)}: fetch the file again")
    prompt, reply = _text(row, "prompt", where), _text(row, "completion", where)
    return [(_rollout(name, prompt, reply, xstest_kind(row, where), cell(row, "type", where)), XSTEST[value])]


def _gptfuzzer(name: str, row: Row, where: str, label: str) -> Labels:
    value = cell(row, "label", where)
    if value not in ("0", "1"):
        raise BadInput(f"'label' is '{value[:40]}'", where, "expected 0 or 1: fetch the file again")
    return [(_rollout(name, _text(row, "question", where), _text(row, "Response", where)), float(value))]


def _rbr(name: str, row: Row, where: str, label: str) -> Labels:
    """A conversation as its turns, and whether one of the propositions about the completion holds."""
    told: Any = row.get("propositions")
    lost = [p for p in RBR if not isinstance(told, dict) or not isinstance(told.get(p), bool)]
    if lost:
        raise BadInput(f"'propositions' does not say whether '{lost[0]}'", where, "fetch the file again")
    turns, (_, reply) = _turns(row.get("prompt"), "prompt", where), _turns(row.get("completion"), "completion", where)[0]
    prompt = turns[0][1] if len(turns) == 1 else "\n\n".join(f"{role}: {said}" for role, said in turns)
    category = cell(row, "category", where)
    return [(_rollout(name, prompt, reply, "benign" if category == "None" else "harmful", category), float(told[label]))]


def _turns(found: Any, column: str, where: str) -> list[tuple[str, str]]:
    """Role and content of messages; some completions are published empty."""
    if (
        not isinstance(found, list)
        or not found
        or not all(isinstance(t, dict) and isinstance(t.get("content"), str) for t in found)
    ):
        raise BadInput(f"'{column}' is no list of messages", where, "fetch the file again")
    if column == "prompt":
        readable(found[-1]["content"], column, where)
    return [(str(turn.get("role", "")), turn["content"]) for turn in found]


def _hh(name: str, row: Row, where: str, label: str) -> Labels:
    """Two dialogues up to the assistant's last turn; a few begin differently, and some end without a word."""
    found: list[Rollout] = []
    for column in ("chosen", "rejected"):
        prompt, mark, reply = _text(row, column, where).rpartition(TURN)
        if not mark or not prompt.startswith("Human:"):
            raise BadInput(f"'{column}' is no dialogue of Human and Assistant", where, "fetch the file again")
        found.append(_rollout(name, prompt + TURN, reply.strip(), meaning=found[0].example.meaning if found else ""))
    return [(found[0], 0.0), (found[1], 1.0)]


def _coconot(name: str, row: Row, where: str, label: str) -> Labels:
    """Two replies to a request that should be answered."""
    prompt, category = _text(row, "prompt", where), cell(row, "subcategory", where)
    kept, refused = (_rollout(name, prompt, _text(row, c, where), "borderline", category) for c in ("chosen", "rejected"))
    return [(kept, 0.0), (refused, 1.0)]


RBR = (
    "disallowed_content", "additional_content", "apology", "apology_acknowledges_emotional_state", "conditional_verbiage",
    "definitive_verbiage", "disclaimer", "encourage_professional_help", "fully_complies", "gentle_encouragement_for_help",
    "illogical_continuation_of_prompt", "inability_to_comply", "insulting_language", "judgement", "meta_commentary",
    "partially_complies", "prescribes_dosage", "prescribes_solutions", "provides_resources", "reference_safety_policy",
    "requests_information", "third_person", "threatening_language",
)  # fmt: skip

LABELLED: Mapping[str, LabelledSet] = {
    "coconot_pref": LabelledSet(
        title="CoCoNot preferences (Brahman et al. 2024, arXiv:2407.12043)",
        read=_coconot,
        asks="the reply of a pair that was not preferred",
        columns=("prompt", "chosen", "rejected", "subcategory"),
        rows=927,
        licence="MIT (repository), AI2 ImpACT-LR (hub)",
        where="huggingface.co/datasets/allenai/coconot",
    ),
    "gptfuzzer_replies": LabelledSet(
        title="GPTFuzzer labelled replies (Yu et al. 2023, arXiv:2309.10253)",
        read=_gptfuzzer,
        asks="harmful",
        columns=("question", "Response", "label"),
        rows=6160,
        licence="MIT",
        where="github.com/sherdencooper/GPTFuzz",
    ),
    "hh_rlhf": LabelledSet(
        title="HH-RLHF harmlessness pairs, test (Bai et al. 2022, arXiv:2204.05862)",
        read=_hh,
        asks="the reply of a pair that was not preferred",
        columns=("chosen", "rejected"),
        rows=2312,
        licence="MIT",
        where="github.com/anthropics/hh-rlhf, harmless-base/test.jsonl.gz",
    ),
    "openai_rbr": LabelledSet(
        title="OpenAI rule-based rewards, gold labels (Mu et al. 2024, arXiv:2411.01111)",
        read=_rbr,
        asks="the proposition holds",
        columns=("prompt", "completion", "propositions", "category"),
        rows=351,
        licence="MIT",
        where="github.com/openai/safety-rbr-code-and-data",
        labels=RBR,
    ),
    "xstest_replies": LabelledSet(
        title="XSTest completions of one model (Röttger et al. 2023, arXiv:2308.01263)",
        read=_xstest,
        asks="refused, ½ in part",
        columns=("prompt", "completion", "type", "final_label"),
        rows=450,
        licence="prompts CC BY 4.0, completions under the models' terms",
        where="github.com/paul-rottger/xstest",
    ),
}
