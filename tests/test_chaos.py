"""The bounded form of ``make chaos``: a small session, a few kills, on a daemon of our own or without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import own_daemon
import pytest
from test_images_workflow import engine_or_skip


@pytest.mark.parametrize("engine", ["docker", "namespace"])
def test_a_session_that_is_killed_again_and_again_comes_out_as_the_undisturbed_one(engine, tmp_path, store) -> None:
    """``make chaos`` is the long form; what it printed is in ``docs/reliability.md``."""
    if engine == "docker" and (reason := own_daemon.lacking()):
        pytest.skip(reason)
    if engine == "namespace":
        engine_or_skip(engine, store)
    program = Path(__file__).with_name("chaos.py")
    options = ["--engine", engine, "--kills", "5", "--instances", "2", "--seed", "7"]
    command = [sys.executable, str(program), *options, "--folder", str(tmp_path / "chaos")]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    assert "seed 7: nothing lost, nothing repeated" in done.stdout
