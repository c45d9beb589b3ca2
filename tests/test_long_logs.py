"""A test that floods its log: 200 MB reach the file whole, and the process that runs the stage stays small."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from trajmake import engines
from trajmake.errors import TrajmakeError

MEGABYTES = 200
# The stage's own work in a process of its own, so that its peak is its own.
STAGE = """
import json, sys
from dataclasses import replace
from pathlib import Path
from trajmake import engines
from trajmake.datasets import Dataset
from trajmake.evaluation import run_tests
from trajmake.grading import grade, read_log
name, store, dataset, identity, command, log = sys.argv[1:]
def peak():  # not ru_maxrss, which begins with the peak of the process that started this one
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
engine = engines.select(name, **({"store": store} if name == "namespace" else {}))
rows = Dataset(dataset)
instance = replace(rows.instance(identity), test_command=command)
image = engine.load(Path(rows.image_uri(identity)))
before = peak()
start = lambda: engine.start(image.id, name=f"flood-{name}")
facts = run_tests(instance, instance.patch, start, timeout=300, log=Path(log), control=False)
ran = peak()
verdict = grade(instance, instance.patch, read_log(log), facts)
print(json.dumps([before, ran, peak(), verdict.state, facts.exit_code, facts.timed_out]))
"""


@pytest.mark.parametrize("name", ["docker", "namespace"])
def test_a_flood_reaches_the_file_and_not_the_memory(demo_data, store, tmp_path, name):
    """Running the tests adds little memory, grading a bounded amount; the verdict at the log's end is read."""
    try:
        engines.select(name).version()
    except TrajmakeError as error:
        pytest.skip(f"engine {name}: {error.message}")
    row = json.loads((demo_data / "instances.jsonl").read_text().splitlines()[0])
    flood = f"yes 'a line of noise that goes on for a while, as programs do' | head -c {MEGABYTES}000000; "
    log = tmp_path / "test_output.txt"
    done = subprocess.run(
        [sys.executable, "-c", STAGE, name, str(store), str(demo_data / "instances.jsonl"), row["instance_id"],
         flood + row["test_command"], str(log)],
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, ran, graded, state, code, timed_out = json.loads(done.stdout)
    print(f"{name}: {before:.0f} MiB before, {ran:.0f} after the run, {graded:.0f} after grading")
    assert log.stat().st_size > MEGABYTES * 1_000_000
    assert (state, code, timed_out) == ("resolved", 0, False)
    assert ran - before < 100  # the result keeps head and tail, 16 MiB at most
    assert graded < 700  # of a log beyond 64 MiB the middle is left out


def test_a_timeout_kills_everything_inside(demo_data, store, tmp_path):
    """Also what the tests put into the background: nothing of it is left when the stage ends."""
    name, options = ("namespace", {"store": store})
    try:
        engine = engines.select(name, **options)
        engine.version()
    except TrajmakeError as error:
        pytest.skip(f"engine {name}: {error.message}")
    from dataclasses import replace

    from trajmake.datasets import Dataset
    from trajmake.evaluation import eval_script

    rows = Dataset(demo_data / "instances.jsonl")
    instance = rows.instance(rows.ids[0])
    command = "setsid sleep 98765 & (sleep 98765 &) ; sleep 98765"
    image = engine.load(Path(rows.image_uri(instance.instance_id)))
    with engine.start(image.id, name="late") as container:
        result = container.run(eval_script(replace(instance, test_command=command)), timeout=2)
        left = container.run("for p in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $p; echo; done", timeout=20).text
    assert result.timed_out and shlex.split("sleep 98765")[1] not in left
