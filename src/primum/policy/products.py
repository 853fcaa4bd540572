"""Matrix products on the CPU with oneDNN in place of MKL where that is about twice as fast: the same float32 arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

LEAST = 1 << 26  # multiplications below which it is not worth the memory of its programs
TALL = 1024  # rows above which a weight's gradient is better left to MKL


@cache
def onednn_pays() -> bool:
    """Whether oneDNN's products beat MKL's here: MKL leaves AVX-512 idle on processors that are not Intel's.

    Told from the processor and not by a stopwatch, so that a run's arithmetic never changes from one day to the next.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch.backends.mkldnn.is_available():
        return False
    try:
        maker = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").partition("vendor_id")[2]
        one = torch.ones(1, 1)
        return "AuthenticAMD" in maker.partition("\n")[0] and float(_onednn(one, one)) == 1.0
    except (OSError, AttributeError, RuntimeError):
        return False


@contextmanager
def quick_products(model: nn.Module, rows: int) -> Iterator[None]:
    """Inside the block the model's linear layers multiply the faster way; gradients flow through it also afterwards.

    `rows` is the most that a layer will be given: layers too small to gain from it are left alone.
    """
    plain = [m for m in model.modules() if type(m) is nn.Linear and "forward" not in vars(m)] if onednn_pays() else []
    layers: list[Any] = [m for m in plain if rows * m.weight.numel() >= LEAST]
    for layer in layers:
        layer.forward = partial(_layer, layer)
    try:
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def product(rows_MK: Tensor, columns_NK: Tensor) -> Tensor:
    """rows · columnsᵀ, the faster way; not differentiable."""
    return _onednn(rows_MK, columns_NK) if _suits(rows_MK, columns_NK) else torch.mm(rows_MK, columns_NK.T)


def _layer(layer: nn.Linear, x: Tensor) -> Tensor:
    weight, bias = layer.weight, layer.bias
    if not _suits(x, weight):
        return functional.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Linear.apply(x, weight, bias)
    return _onednn(x, weight, bias)


def _suits(x: Tensor, weight: Tensor) -> bool:
    plain = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return plain and x.numel() * len(weight) >= LEAST and onednn_pays()


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x·Wᵀ + b over rows that zeros fill up: oneDNN keeps a program of its own for every number of rows it meets."""
    x_MK = x.reshape(-1, x.shape[-1])
    count = len(x_MK)
    filled = _rounded(count)
    y_MN = torch.ops.mkldnn._linear_pointwise(_fill(x_MK, filled), weight, bias, "none", [], "")[:count]
    return y_MN.view(*x.shape[:-1], len(weight))


def _rounded(count: int) -> int:
    """A number of rows no smaller than `count`, of eight in every octave, so that programs stay few: each holds a megabyte.

    >>> [_rounded(n) for n in (1, 64, 65, 130, 513)]
    [16, 64, 80, 144, 576]
    """
    step = max(16, 1 << max(0, (count - 1).bit_length() - 4))
    return -(-count // step) * step


def _fill(x_MK: Tensor, count: int) -> Tensor:
    return x_MK if len(x_MK) == count else functional.pad(x_MK, (0, 0, 0, count - len(x_MK)))


class _Linear(torch.autograd.Function):
    """y = x·Wᵀ + b;  ∂x = ∂y·W;  ∂W = ∂yᵀ·x;  ∂b = Σ ∂y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dy = grads[0]
        dy_MN, x_MK = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
        wanted = ctx.needs_input_grad
        dx = _onednn(dy_MN, weight.T).view(x.shape) if wanted[0] else None
        return dx, _outer(dy_MN, x_MK) if wanted[1] else None, dy_MN.sum(0) if wanted[2] else None


def _outer(dy_MN: Tensor, x_MK: Tensor) -> Tensor:
    """∂yᵀ·x"""
    if len(x_MK) > TALL:
        return torch.mm(dy_MN.T, x_MK)
    filled = _rounded(len(x_MK))
    return _onednn(_fill(dy_MN, filled).T, _fill(x_MK, filled).T)
