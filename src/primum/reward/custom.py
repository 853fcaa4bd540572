"""A reward of the user's own, and what stands between any reward and the loop."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import cast

from primum.reward.types import Reward, Rewards, with_memory
from primum.types import BadInput, Rollout


def custom(path: str) -> Reward:
    """A reward of the user's own, `module:function` from rollouts to one number each, for every kind of prompt.

    It may return `Rewards` instead, with parts, with what each half earned, or with the word that training
    collapsed. None and infinities are unscored, as nan is. Modules are looked for in the working directory too.
    """
    function = _imported(path)

    def reward(rollouts: Sequence[Rollout]) -> Rewards:
        found = function(rollouts)
        if not isinstance(found, Rewards):
            found = Rewards(cast(list[float], list(found)), {})
        return found.check(rollouts, path)

    return with_memory(reward, function)


def forgiving(reward: Reward, say: Callable[[str], None]) -> Reward:
    """`reward`, checked and in plain numbers; where it fails every rollout is unscored, and the first failure is told."""
    told = False

    def asked(rollouts: Sequence[Rollout]) -> Rewards:
        nonlocal told
        try:
            return reward(rollouts).check(rollouts)
        except BadInput:
            raise
        except Exception as error:  # the user's code, which may fail in any way
            if not told:
                say(f"the reward failed, its rollouts are unscored: {_line(error)}")
            told = True
            return Rewards([math.nan] * len(rollouts), {})

    return with_memory(asked, reward)


def _imported(path: str) -> Callable[[Sequence[Rollout]], Rewards | Sequence[float | None]]:
    module, _, name = path.partition(":")
    if os.getcwd() not in sys.path:  # a console script leaves it out; last, so that it shadows nothing installed
        sys.path.append(os.getcwd())
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # the user's module may fail in any way
        remedy = "name oracle, keyword, classifier or an importable module:function"
        raise BadInput(f"no reward '{path}', {_line(error)}", "reinforce.reward", remedy) from None
    if not callable(function):
        raise BadInput(f"'{path}' is no function", "reinforce.reward", "name a function from rollouts to one number each")
    return function


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
