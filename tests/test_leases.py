"""Leases of images, which all users of a host share."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from trajmake.images import leases
from trajmake.images.claims import Claim, Claims
from trajmake.images.leases import Lease

MODES = {"leases": 0o1777, "id": 0o777, "lock": 0o666}


@pytest.mark.parametrize("at", range(3))
def test_a_process_that_is_killed_as_it_makes_leases_locks_nobody_out(tmp_path: Path, monkeypatch, at) -> None:
    """Folders in /tmp stay until the machine starts again; only their owner can mend their modes."""
    folder = tmp_path / "leases"
    lease = Lease("sha256:id", tmp_path / "driver", folder)
    calls: list[object] = []
    with monkeypatch.context() as patch:
        for name in ("chmod", "fchmod"):
            change = getattr(os, name)

            def killed(*arguments, change=change, **options) -> None:
                calls.append(arguments)
                if len(calls) > at:
                    os._exit(9)
                change(*arguments, **options)

            patch.setattr(os, name, killed)
        child = os.fork()
        if not child:
            with lease.locked():
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    _all_open(folder)
    with lease.locked():
        assert _all_open(folder) == 3


def _all_open(folder: Path) -> int:
    """Check the modes of what leases consist of, as far as it is there; gives how much that is."""
    there = [path for path in (folder, folder / "id", folder / "id" / "lock") if path.exists()]
    for path in there:
        assert stat.S_IMODE(path.stat().st_mode) == MODES[path.name]
    return len(there)


@pytest.mark.parametrize("step", ["rename", "link"])
def test_two_that_make_a_lease_at_once_have_the_same(tmp_path: Path, monkeypatch, step) -> None:
    """Neither locks a file that the other does not see, and nothing else is left."""
    folder = tmp_path / "leases"
    first, second = (Lease("sha256:id", tmp_path / name, folder) for name in ("a", "b"))
    put = getattr(os, step)
    opened: list[int] = []

    def late(*arguments) -> None:
        monkeypatch.setattr(os, step, put)
        opened.append(first._open("lock"))
        put(*arguments)

    monkeypatch.setattr(os, step, late)
    opened.append(second._open("lock"))
    assert os.path.sameopenfile(*opened)
    assert (os.listdir(tmp_path), os.listdir(folder), os.listdir(folder / "id")) == (["leases"], ["id"], ["lock"])
    for handle in opened:
        os.close(handle)


def test_a_claim_of_a_careful_user_counts_for_everybody(tmp_path: Path, monkeypatch) -> None:
    """Who cannot read a claim would take the room that it was promised."""
    monkeypatch.setattr(leases, "FOLDER", tmp_path / "leases")
    claims, claim = Claims(), Claim("docker", 7, {"1": ("/", 7, "an image")})
    before = os.umask(0o077)
    try:
        with claims.locked():
            held = claims.add(claim)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (held, held.parent)] == [0o644, 0o1777]
    assert Claims().others() == [claim]
    claims.drop(held)
    assert Claims().others() == []
