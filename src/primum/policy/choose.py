"""From next-token logits to tokens: an exact draw from the whole vocabulary, and the detection of loops."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 128  # tokens whose probabilities are summed up together
PERIOD = 32  # the longest phrase whose repetition is a loop


def choose(logits_NV: Tensor, uniform_N: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """A token for each row by inverting its cumulative distribution at `uniform_N`, and its log-probability (nats).

    Temperature 0 takes the likeliest token, and its log-probability at temperature 1. The sums
    are taken over blocks first, then inside one block: cumulative sums over a vocabulary are slow.
    """
    z_NV = logits_NV.float()
    if temperature not in (0, 1):
        z_NV = z_NV / temperature
    top_N1 = z_NV.amax(1, keepdim=True)
    p_NV = (z_NV - top_N1).exp_()
    missing = -p_NV.shape[1] % BLOCK
    p_NKB = (torch.nn.functional.pad(p_NV, (0, missing)) if missing else p_NV).view(len(p_NV), -1, BLOCK)
    upto_NK = p_NKB.sum(2).double().cumsum(1)
    total_N1 = upto_NK[:, -1:]
    if temperature == 0:
        token_N1 = z_NV.argmax(1, keepdim=True)
    else:
        target_N1 = uniform_N[:, None] * total_N1
        block_N1 = torch.searchsorted(upto_NK, target_N1, right=True).clamp_(max=p_NKB.shape[1] - 1)
        inside_NB = p_NKB[torch.arange(len(p_NKB), device=p_NKB.device), block_N1[:, 0]].double().cumsum(1)
        rest_N1 = target_N1 - torch.where(block_N1 > 0, upto_NK.gather(1, (block_N1 - 1).clamp_(min=0)), 0.0)
        # Rounding may leave a rest above the block's own sum: the last token that has any probability then.
        rest_N1 = torch.minimum(rest_N1, inside_NB[:, -1:] * (1 - 1e-12))
        token_N1 = block_N1 * BLOCK + torch.searchsorted(inside_NB, rest_N1, right=True).clamp_(max=BLOCK - 1)
        token_N1.clamp_(max=z_NV.shape[1] - 1)
    return token_N1[:, 0], (z_NV.gather(1, token_N1) - top_N1 - total_N1.log().float())[:, 0]


class Loops:
    """How long each row has only repeated itself, for every period at once; `said` is what it said before."""

    def __init__(self, said: list[list[int]], tokens: int, device: torch.device) -> None:
        self.tokens = tokens
        rows = torch.arange(len(said), device=device)
        self.last_NP = torch.full((len(said), PERIOD), -1, device=device)  # the newest first
        self.run_NP = torch.zeros_like(self.last_NP)
        reach = min(max(map(len, said)), tokens + PERIOD)
        # Where a row said less, negative numbers that never repeat stand for it.
        tails = [[*range(-2 - reach, -2 - len(ids[-reach:])), *ids[-reach:]] if reach else [] for ids in said]
        for token_N in torch.tensor(tails, device=device).T:
            self.caught(token_N, rows)

    def caught(self, token_n: Tensor, rows: Tensor) -> Tensor:
        """Of these rows, which have with these tokens said `tokens` in a row that each equal the one a period before."""
        last_nP = self.last_NP[rows]
        run_nP = (self.run_NP[rows] + 1) * (last_nP == token_n[:, None])
        self.run_NP[rows] = run_nP
        self.last_NP[rows] = torch.cat([token_n[:, None], last_nP[:, :-1]], 1)
        return run_nP.amax(1) >= self.tokens
