"""What a worker tells of a task that cannot be written down."""

import errno
from pathlib import Path
from typing import Any

import pytest

from primum.study import work as worker
from primum.study.work import Work, carry_out


def no_room(folder: Path, settings: dict[str, Any], needs: dict[str, Path]) -> dict[str, Any]:
    raise OSError(settings["errno"], "No room", str(folder))


def task(store: Path, number: int) -> Work:
    return Work(store, "no_room-0", "0", "m:no_room", {"errno": number}, {}, "", 0.0, "")


@pytest.mark.parametrize(("number", "bad"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.ECONNRESET, False)])
def test_a_full_disk_is_for_the_user_to_mend_and_a_lost_connection_for_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, bad: bool
) -> None:
    monkeypatch.setattr(worker, "function_of", lambda does: no_room)
    ended = carry_out(task(tmp_path, number))
    assert (ended.result, ended.bad) == (None, bad)
    assert ("free space" in ended.error) is bad
