"""Whether a teacher can judge a student's tokens."""

from __future__ import annotations

from collections.abc import Sequence

from primum.policy import Policy, prompt_ids
from primum.policy.model import context_limit
from primum.types import BadInput, Example

COMPARED = 16  # prompts


def check_pair(teacher: Policy, student: Policy, examples: Sequence[Example], limit_tokens: int) -> None:
    """Refuse a teacher that reads other tokens than its student writes, or has no room for them; and no prompts."""
    if not examples:
        raise BadInput("no prompts to distil on", "train split", "give examples")
    pair, other = f"{teacher.name} and {student.name}", "on-policy distillation needs one tokenizer; distill works with two"
    if teacher.tokenizer.get_vocab() != student.tokenizer.get_vocab():
        raise BadInput("teacher and student have different tokenizers", pair, other)
    for example in examples[:COMPARED]:
        if prompt_ids(teacher, example) != prompt_ids(student, example):
            raise BadInput("teacher and student write a prompt in different tokens", pair, "give both the same chat template")
    if not teacher.stops <= student.stops:
        names = teacher.tokenizer.convert_ids_to_tokens(sorted(teacher.stops - student.stops))
        remedy = "add it to eos_token_id in the student's generation_config.json"
        raise BadInput(f"the student does not end where its teacher does, at {', '.join(names)}", pair, remedy)
    rows, ours = (len(p.model.get_input_embeddings().weight) for p in (teacher, student))
    if ours > rows:
        remedy = "resize_token_embeddings of the student"
        raise BadInput(f"the student can say {ours} tokens, the teacher can read {rows}", pair, remedy)
    if teacher.device != student.device:
        raise BadInput("teacher and student are on different devices", f"{teacher.device}, {student.device}", "load both on one")
    _check_room(teacher, student, examples, limit_tokens)


def _check_room(teacher: Policy, student: Policy, examples: Sequence[Example], limit_tokens: int) -> None:
    longest, name = max((len(prompt_ids(student, e)), e.id) for e in examples)
    most, read = context_limit(student.model), context_limit(teacher.model)
    if longest >= most:
        remedy = "shorten or drop it, or take a model with a longer context"
        raise BadInput(f"a training prompt of {longest} tokens fills the student's {most}", f"example {name}", remedy)
    if min(longest + limit_tokens, most) > read:
        what = f"a rollout may have {min(longest + limit_tokens, most)} tokens, the teacher reads {read}"
        raise BadInput(what, f"example {name}", "lower limit_tokens, or drop long prompts")
