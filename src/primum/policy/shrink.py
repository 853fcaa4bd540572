"""A smaller policy made from a larger one: fewer layers, and the principal directions of what it computes with."""

from __future__ import annotations

import copy as copying
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from primum.policy.model import Policy
from primum.policy.template import completion_ids, prompt_ids
from primum.types import BadInput, Example

# Pre-norm layers with plain RMSNorm weights, whose residual stream can be rotated (Ashkboos et al. 2024, arXiv:2401.15024).
ROTATABLE = ("llama", "mistral", "qwen2", "qwen3")


def parameters(policy: Policy) -> int:
    """How many weights there are; tied ones count once."""
    return sum(p.numel() for p in policy.model.parameters())


def shrink(
    teacher: Policy, examples: Sequence[Example], *, share: float = 1 / 3, layers: int = 0, hidden: int = 0, seed: int = 0
) -> Policy:
    """A student of the same architecture and tokenizer with at most `share` of the teacher's parameters.

    Left to choose (0), it halves the layers and takes the widest hidden state that fits, and
    fewer layers only where no width does. It starts from every so-many-th layer, the
    principal directions of the residual stream over `examples`, and the heads and neurons
    with the largest weights; where the architecture is not known, from random weights and
    from those whose shapes agree.
    """
    config = _config(teacher, share, layers, hidden)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).to(teacher.model.dtype)
    sources = _sources(teacher.model.config.num_hidden_layers, config.num_hidden_layers)
    if config.model_type in ROTATABLE and examples:
        _project(teacher, model, sources, principal(teacher, examples, config.hidden_size))
    else:
        _copy_equal(teacher.model, model, sources)
    model.generation_config = copying.deepcopy(teacher.model.generation_config)
    return Policy(model.to(teacher.device).eval(), teacher.tokenizer, f"{teacher.name}-student")


@torch.no_grad()
def principal(teacher: Policy, examples: Sequence[Example], width: int) -> Tensor:
    """The `width` orthonormal directions, as columns, in which the residual stream has most of its power."""
    power = torch.zeros(teacher.model.config.hidden_size, teacher.model.config.hidden_size, dtype=torch.float64)
    for example in examples:
        ids = prompt_ids(teacher, example) + (completion_ids(teacher, example) if example.reply else [])
        row = torch.tensor([ids], device=teacher.device)
        states = teacher.model(row, output_hidden_states=True, use_cache=False).hidden_states
        for state in states[:-1]:  # the last is normed already
            unit = torch.nn.functional.normalize(state[0].double().cpu(), dim=-1)  # a norm reads directions, not lengths
            power += unit.T @ unit
    return torch.linalg.eigh(power).eigenvectors[:, -width:].flip(1)


def _config(teacher: Policy, share: float, layers: int, hidden: int) -> Any:
    """The largest fitting configuration, deep before wide down to half the layers."""
    whole = teacher.model.config
    room = share * parameters(teacher)
    step = 64 if whole.hidden_size >= 1024 else 8
    # Without a head size of its own, the hidden state divides into the heads.
    step = step if getattr(whole, "head_dim", None) else max(step, whole.hidden_size // whole.num_attention_heads)
    depths = [layers] if layers else range(math.ceil(whole.num_hidden_layers / 2), 0, -1)
    widths = [hidden] if hidden else range(whole.hidden_size // step * step, 0, -step)
    for depth in depths:
        for width in widths:
            config = _narrowed(whole, depth, width)
            with torch.device("meta"):
                size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
            if size <= room:
                return config
    raise BadInput(f"no student fits into {share:.0%} of the teacher", f"{room:.0f} parameters", "raise distill.share")


def _narrowed(whole: Any, depth: int, width: int) -> Any:
    """`whole` with `depth` layers and a hidden state of `width`; heads keep their size and their sharing of keys."""
    config = copying.deepcopy(whole)
    part = width / whole.hidden_size
    keys = getattr(whole, "num_key_value_heads", None) or whole.num_attention_heads
    kept = max(1, round(keys * part))
    config.hidden_size, config.num_hidden_layers = width, depth
    heads = whole.num_attention_heads // keys * kept
    config.num_attention_heads = heads if keys > 1 else max(1, round(whole.num_attention_heads * part))
    if hasattr(whole, "num_key_value_heads"):
        config.num_key_value_heads = kept
    if getattr(whole, "intermediate_size", None):
        config.intermediate_size = max(8, int(whole.intermediate_size * part) // 8 * 8)
    if getattr(whole, "layer_types", None):
        config.layer_types = [whole.layer_types[i] for i in _sources(whole.num_hidden_layers, depth)]
    return config


def _sources(many: int, few: int) -> list[int]:
    """Which layers stand in for the student's: first and last, and evenly between.

    >>> _sources(4, 2), _sources(12, 4), _sources(4, 1)
    ([0, 3], [0, 4, 7, 11], [0])
    """
    return [round(i * (many - 1) / max(1, few - 1)) for i in range(few)]


@torch.no_grad()
def _project(teacher: Policy, model: Any, sources: list[int], basis: Tensor) -> None:
    """Fill the student with the teacher seen through `basis`.

    A norm's weight g moves into what reads it: W' = W·diag(g)·Q. What writes is W' = Qᵀ·W.
    The student's norms are √(h/h'), since a vector keeps its length but has fewer entries.
    A tied output head cannot take g in; there its mean stays in the final norm.
    """
    whole, config = teacher.model, model.config
    scale = math.sqrt(whole.config.hidden_size / config.hidden_size)
    basis = basis.to(teacher.device)
    old, new = whole.model, model.model.to(teacher.device)
    _put(new.embed_tokens.weight, old.embed_tokens.weight.double() @ basis)
    for target, i in zip(new.layers, sources, strict=True):
        _project_layer(old.layers[i], target, whole.config, config, basis)
        target.input_layernorm.weight.fill_(scale)
        target.post_attention_layernorm.weight.fill_(scale)
    if config.tie_word_embeddings:
        new.norm.weight.fill_(scale * float(old.norm.weight.double().mean()))
    else:
        new.norm.weight.fill_(scale)
        _put(model.lm_head.weight, _reads(whole.lm_head.weight, old.norm.weight, basis))


def _project_layer(source: Any, target: Any, whole: Any, config: Any, basis: Tensor) -> None:
    queries, keys = _heads(source.self_attn, whole, config)
    reads = {"q_proj": queries, "k_proj": keys, "v_proj": keys}
    for name, rows in reads.items():
        old, new = getattr(source.self_attn, name), getattr(target.self_attn, name)
        _put(new.weight, _reads(old.weight, source.input_layernorm.weight, basis)[rows])
        if old.bias is not None:
            _put(new.bias, old.bias[rows])
    _put(target.self_attn.o_proj.weight, (basis.T @ source.self_attn.o_proj.weight.double())[:, queries])
    for name in ("q_norm", "k_norm"):
        if hasattr(source.self_attn, name):
            _put(getattr(target.self_attn, name).weight, getattr(source.self_attn, name).weight)
    mlp, norm = source.mlp, source.post_attention_layernorm.weight
    gain = mlp.up_proj.weight.norm(dim=1) * mlp.gate_proj.weight.norm(dim=1) * mlp.down_proj.weight.norm(dim=0)
    neurons = gain.topk(config.intermediate_size).indices.sort().values
    for name in ("gate_proj", "up_proj"):
        _put(getattr(target.mlp, name).weight, _reads(getattr(mlp, name).weight, norm, basis)[neurons])
    _put(target.mlp.down_proj.weight, (basis.T @ mlp.down_proj.weight.double())[:, neurons])


def _heads(attention: Any, whole: Any, config: Any) -> tuple[Tensor, Tensor]:
    """The rows of the query and of the key heads that stay: those that write the most."""
    size = attention.head_dim
    device = attention.o_proj.weight.device
    per_head = attention.o_proj.weight.view(attention.o_proj.weight.shape[0], -1, size).norm(dim=(0, 2))
    if whole.num_key_value_heads == 1:
        heads = per_head.topk(config.num_attention_heads).indices.sort().values
        groups = torch.zeros(1, dtype=torch.long, device=device)
    else:
        shared = whole.num_attention_heads // whole.num_key_value_heads
        groups = per_head.view(-1, shared).sum(1).topk(config.num_key_value_heads).indices.sort().values
        heads = (groups[:, None] * shared + torch.arange(shared, device=device)).flatten()
    columns = torch.arange(size, device=device)
    return (heads[:, None] * size + columns).flatten(), (groups[:, None] * size + columns).flatten()


def _reads(weight: Tensor, norm: Tensor, basis: Tensor) -> Tensor:
    return (weight.double() * norm.double()) @ basis


def _put(target: Tensor, value: Tensor) -> None:
    target.data.copy_(value)


@torch.no_grad()
def _copy_equal(whole: Any, model: Any, sources: list[int]) -> None:
    """Copy the weights whose shapes agree, each layer from the one it stands for."""
    old = whole.state_dict()
    for name, value in model.state_dict().items():
        parts = name.split(".")
        places = [i for i, part in enumerate(parts) if part.isdigit()]
        if places:
            parts[places[0]] = str(sources[int(parts[places[0]])])
        source = old.get(".".join(parts))
        if source is not None and source.shape == value.shape:
            value.copy_(source)
