"""The output head on chosen positions: log-probabilities of given tokens without a table of positions × vocabulary × passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from primum.policy.products import product

CHUNK = 1 << 22  # logits computed at a time: few enough to stay in a processor's cache
KEEP = 1 << 27  # probabilities kept from forward to backward; more are computed again


@dataclass(frozen=True)
class Head:
    """How a model turns its last hidden states into logits: cap·tanh(scale·h·Wᵀ / cap), and W's gradient if it has one."""

    weight_VD: Tensor
    scale: float = 1.0
    cap: float = 0.0


def find_head(model: Any) -> Head | None:
    """The head of a decoder-only model; None where it is more than a matrix with a scale and a soft cap."""
    layer, config = model.get_output_embeddings(), model.config.get_text_config()
    if not isinstance(layer, torch.nn.Linear) or layer.bias is not None:
        return None
    scale = float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)
    return Head(layer.weight, scale, float(getattr(config, "final_logit_softcapping", None) or 0.0))


def chosen_logprobs(
    hidden_MD: Tensor, head: Head, token_M: Tensor, *, temperature: float = 1.0, entropy: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Log-probability of `token_M` at each of M positions, and the entropy there, both in nats and float32.

    Differentiable in the hidden states and the head's weight. Logits exist for a chunk of
    positions at a time; where all M × V probabilities are few they are kept for the backward
    pass, else computed once more.
    """
    keep = torch.is_grad_enabled() and not head.cap and len(token_M) * len(head.weight_VD) <= KEEP
    form = (head.scale, head.cap, temperature)
    logprob_M, entropy_M = _Chosen.apply(hidden_MD, head.weight_VD, token_M, form, entropy, keep)
    return logprob_M, entropy_M if entropy else None


class _Chosen(torch.autograd.Function):
    """∂logprob/∂z = onehot - p;  ∂H/∂z = -p·(log p + H);  z = logits / temperature."""

    @staticmethod
    def forward(
        ctx: Any, hidden_MD: Tensor, weight_VD: Tensor, token_M: Tensor, form: tuple[float, float, float], entropy: bool,
        keep: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        count, size = len(token_M), len(weight_VD)
        ctx.form, ctx.kept, ctx.wanted = form, [], hidden_MD.dtype
        hidden_MD = hidden_MD.to(_number(hidden_MD))
        logprob_M = torch.empty(count, device=hidden_MD.device)
        entropy_M = torch.empty(count if entropy else 0, device=hidden_MD.device)
        head_VD = weight_VD.to(hidden_MD.dtype)
        for part in _parts(count, size):
            z_CV = _logits(hidden_MD[part], head_VD, form)
            p_CV, logprob_M[part], entropy_C = _softmax(z_CV, token_M[part], entropy)
            if entropy_C is not None:
                entropy_M[part] = entropy_C
            if keep:
                ctx.kept.append(p_CV)
        ctx.save_for_backward(hidden_MD, weight_VD, token_M, entropy_M)
        return logprob_M, entropy_M

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_MD, weight_VD, token_M, entropy_M = ctx.saved_tensors
        scale, _, temperature = ctx.form
        head_VD = weight_VD.to(hidden_MD.dtype)
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        dhidden_MD = torch.empty_like(hidden_MD) if needs_hidden else None
        dweight_VD = torch.zeros(weight_VD.shape, device=weight_VD.device) if needs_weight else None
        kept, ctx.kept = ctx.kept, []  # overwritten below, so a second backward pass computes them again
        for i, part in enumerate(_parts(len(token_M), len(weight_VD))):
            p_CV, slope_CV = (kept[i], None) if kept else _again(hidden_MD[part], head_VD, ctx.form)
            entropies = (grads[1][part, None], entropy_M[part, None]) if len(entropy_M) else None
            dz_CV = _gradient(p_CV, token_M[part], grads[0][part, None].float(), entropies)
            if slope_CV is not None:
                dz_CV *= slope_CV
            if scale != temperature:
                dz_CV *= scale / temperature
            dz_CV = dz_CV.to(hidden_MD.dtype)
            if dhidden_MD is not None:
                dhidden_MD[part] = product(dz_CV, head_VD.T)
            if dweight_VD is not None:
                _add_outer(dweight_VD, dz_CV, hidden_MD[part])
        found = None if dhidden_MD is None else dhidden_MD.to(ctx.wanted)
        return found, None if dweight_VD is None else dweight_VD.to(weight_VD.dtype), None, None, None, None


def _number(hidden_MD: Tensor) -> torch.dtype:
    """The number type to multiply in: that of autocast where it is on."""
    place = hidden_MD.device.type
    return torch.get_autocast_dtype(place) if torch.is_autocast_enabled(place) else hidden_MD.dtype


def _parts(count: int, size: int) -> list[slice]:
    step = max(16, CHUNK // size)
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def _logits(hidden_CD: Tensor, head_VD: Tensor, form: tuple[float, float, float]) -> Tensor:
    """Float32 logits over temperature."""
    scale, cap, temperature = form
    z_CV = product(hidden_CD, head_VD).float()
    if cap:
        return z_CV.mul_(scale / cap).tanh_().mul_(cap / temperature)
    return z_CV.mul_(scale / temperature) if scale != temperature else z_CV


def _softmax(z_CV: Tensor, token_C: Tensor, entropy: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Probabilities in place of the logits, the tokens' log-probabilities, and the entropies if asked."""
    z_CV -= z_CV.amax(1, keepdim=True)
    chosen_C = z_CV.gather(1, token_C[:, None])[:, 0]
    before_CV = z_CV.clone() if entropy else None
    sum_C1 = z_CV.exp_().sum(1, keepdim=True)
    z_CV /= sum_C1
    lse_C = sum_C1.log()[:, 0]
    entropy_C = None if before_CV is None else lse_C - before_CV.mul_(z_CV).sum(1)
    return z_CV, chosen_C - lse_C, entropy_C


def _again(hidden_CD: Tensor, head_VD: Tensor, form: tuple[float, float, float]) -> tuple[Tensor, Tensor | None]:
    """Probabilities computed once more, and the soft cap's slope."""
    z_CV = _logits(hidden_CD, head_VD, form)
    _, cap, temperature = form
    slope_CV = 1 - (z_CV * (temperature / cap)).square_() if cap else None
    return torch.softmax(z_CV, 1), slope_CV


def _gradient(p_CV: Tensor, token_C: Tensor, g_C1: Tensor, entropy: tuple[Tensor, Tensor] | None) -> Tensor:
    """∂loss/∂z, in place of the probabilities."""
    if entropy is None:
        return p_CV.mul_(-g_C1).scatter_add_(1, token_C[:, None], g_C1)
    dentropy_C1, entropy_C1 = entropy
    surprise_CV = p_CV.log().clamp_(min=-1e30).add_(entropy_C1).mul_(dentropy_C1)
    return p_CV.mul_(surprise_CV.add_(g_C1).neg_()).scatter_add_(1, token_C[:, None], g_C1)


def _add_outer(sum_VD: Tensor, dz_CV: Tensor, hidden_CD: Tensor) -> None:
    if dz_CV.dtype == sum_VD.dtype:
        sum_VD.addmm_(dz_CV.T, hidden_CD)
    else:
        sum_VD += torch.mm(dz_CV.T, hidden_CD)
