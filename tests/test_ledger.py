"""The ledger: sums that add up, parts that say where they went, and a peak of memory of its own."""

import json
import time
from dataclasses import asdict

import numpy as np
import pytest

from primum.ledger import Ledger, Spent, forget_peak, peak_mib, total
from primum.types import BadInput


def test_ledgers_add_up_and_of_two_peaks_the_higher_counts() -> None:
    one = Ledger(1.5, 2, 3, 4, 0.5, 100.0, {"sample": Spent(1.0, 2, 0.25)})
    other = Ledger(2.5, 20, 30, 40, 1.5, 70.0, {"sample": Spent(2.0, 20, 0.5), "update": Spent(0.5, 30, 1.0)})
    both = Ledger(4.0, 22, 33, 44, 2.0, 100.0, {"sample": Spent(3.0, 22, 0.75), "update": Spent(0.5, 30, 1.0)})
    assert total([one, other]) == both
    one.add(other)
    assert one == both
    one.charge("update", flops=1.0, tokens=1)
    assert other.parts["update"] == Spent(0.5, 30, 1.0)
    assert total([]) == Ledger()


def test_work_is_booked_once_in_the_whole_and_once_under_its_part() -> None:
    ledger = Ledger()
    ledger.charge("sample", flops=10.0, tokens=4)
    ledger.charge("score", flops=3.0, tokens=4)
    ledger.charge("reward", tokens=4)
    ledger.charge("update", flops=9.0, tokens=2)
    ledger.charge("update", flops=9.0, tokens=2)
    ledger.charge("evaluate", flops=1.0, tokens=7)
    assert ledger.flops == sum(spent.flops for spent in ledger.parts.values()) == 32.0
    assert (ledger.sampled_tokens, ledger.trained_tokens) == (11, 4)
    assert {part: spent.tokens for part, spent in ledger.parts.items()} == {
        "sample": 4, "score": 4, "reward": 4, "update": 4, "evaluate": 7,
    }  # fmt: skip


def test_a_restored_ledger_is_the_same_object_so_its_holders_go_on_adding() -> None:
    ledger = Ledger()
    held = ledger
    saved = Ledger(1.0, 2, 3, 4, 5.0, 6.0, {"reward": Spent(0.0, 9, 0.5)})
    ledger.restore(json.loads(json.dumps(asdict(saved))))
    assert ledger == saved
    held.charge("reward", tokens=1)
    held.sampled_tokens += 10
    assert ledger == Ledger(1.0, 12, 3, 4, 5.0, 6.0, {"reward": Spent(0.0, 10, 0.5)})


def test_a_ledger_saved_before_there_were_parts_is_taken_over() -> None:
    ledger = Ledger(9.0, 9, 9, 9, 9.0, 9.0, {"sample": Spent(9.0, 9, 9.0)})
    ledger.restore({"flops": 1.0, "sampled_tokens": 2, "trained_tokens": 3, "oracle_queries": 4, "seconds": 5.0})
    assert ledger == Ledger(1.0, 2, 3, 4, 5.0)


def test_the_clock_adds_the_time_of_a_block_that_fails_too() -> None:
    ledger = Ledger(seconds=100.0)
    with pytest.raises(BadInput), ledger.clock():
        raise BadInput(str(time.sleep(0.02)))
    assert 100.02 <= ledger.seconds < 101


def test_the_time_of_a_part_is_not_counted_twice() -> None:
    ledger = Ledger()
    with ledger.clock():
        with ledger.clock("sample"):
            time.sleep(0.02)
        with pytest.raises(BadInput), ledger.clock("update"):
            raise BadInput(str(time.sleep(0.02)))
    parts = [ledger.parts[part].seconds for part in ("sample", "update")]
    assert min(parts) >= 0.02
    assert sum(parts) <= ledger.seconds < sum(parts) + 0.02


def test_a_clock_sees_the_memory_of_its_own_block_alone() -> None:
    forget_peak()
    if peak_mib() == 0:
        pytest.skip("this system does not tell")
    small, large = Ledger(), Ledger()
    with large.clock():
        np.ones(300 * 2**20, dtype=np.uint8).sum()
    with small.clock():
        np.ones(2**20, dtype=np.uint8).sum()
    assert 200 < large.peak_mib - small.peak_mib < 400
    with large.clock("update"):
        pass
    with large.clock():
        pass
    assert large.peak_mib > small.peak_mib + 200
