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


def test_another_place_that_cannot_be_written_is_an_error_of_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(folder: Path, settings: dict[str, Any], needs: dict[str, Path]) -> dict[str, Any]:
        raise OSError(settings["errno"], "No room", *([str(tmp_path / "cache")] if settings["errno"] != errno.EDQUOT else []))

    monkeypatch.setattr(worker, "function_of", lambda does: elsewhere)
    store = tmp_path / "store"
    for number, bad in ((errno.ENOSPC, False), (errno.EACCES, False), (errno.EDQUOT, True)):  # the last while writing
        assert carry_out(task(store, number)).bad is bad
    assert "No room" in (store / "no_room-0" / "error.txt").read_text()


@pytest.mark.parametrize(
    ("number", "bad"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.EACCES, True), (errno.ECONNRESET, False)]
)
def test_a_full_disk_is_for_the_user_to_mend_and_a_lost_connection_for_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, bad: bool
) -> None:
    monkeypatch.setattr(worker, "function_of", lambda does: no_room)
    ended = carry_out(task(tmp_path, number))
    assert (ended.result, ended.bad) == (None, bad)
    assert ("free space" in ended.error) is bad
