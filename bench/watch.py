"""What `trajmake watch` costs while a session goes on, in a terminal, as a share of one core.

A made session (real files, nothing runs) has eight running runs, each of which takes a step every two seconds; every
second one run ends. Prints the processor time of the real process over the time that it ran, start included.

    python bench/watch.py [--instances 300] [--models 1] [--seconds 60] [--folder DIR] [--quick] [--json FILE]
"""

from __future__ import annotations

import os
import pty
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pairs

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))


def main() -> None:
    """Make, watch, print."""
    parser = pairs.options(__doc__, pairs=1)
    parser.add_argument("--instances", type=int, default=300)
    parser.add_argument("--models", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--folder", help="keep the session there, and take it from there the next time")
    chosen = parser.parse_args()
    os.fsync = lambda handle: None  # nobody misses these files after a power cut
    result = pairs.Result(f"watch, {chosen.models} x {chosen.instances}", chosen)
    seconds = min(chosen.seconds, 20) if chosen.quick else chosen.seconds
    with tempfile.TemporaryDirectory() as folder:
        share = measure(Path(chosen.folder or folder), chosen.instances, chosen.models, seconds)
    result.add(pairs.figure(f"`trajmake watch` for {seconds:g} s: CPU, its start included", share, "% of a core"))
    result.close()


def measure(folder: Path, instances: int, models: int, seconds: float) -> float:
    """Watch a session of this size for so long: percent of a core."""
    from made_sessions import Made

    from trajmake.sessions import layout, locks

    new = not (folder / "outputs").exists()
    folder.mkdir(parents=True, exist_ok=True)
    made = Made(folder)
    if new:
        fill(made, instances, models)
    locks.drive(made.root / layout.LOCK.format(session="s"))
    names = [f"owner__repo-{number:04}" for number in range(instances)]
    made.drive("s", [f"model-{number}" for number in range(models)], names)
    over = threading.Event()
    threading.Thread(target=go_on, args=(made, names, over), daemon=True).start()
    master, slave = pty.openpty()
    threading.Thread(target=drain, args=(master,), daemon=True).start()
    command = [
        sys.executable,
        "-c",
        "from trajmake.cli import main; main()",
        "watch",
        "--configfile",
        str(made.configfile),
    ]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background ignores it, and so would the child
    began, before = time.monotonic(), used()
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=ROOT)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    code = process.wait(timeout=30)
    assert code == 0, f"trajmake watch ended with {code}"
    over.set()
    took, cpu = time.monotonic() - began, used() - before
    print(
        f"{models} x {instances} runs: {cpu:.2f} s of processor time in {took:.1f} s, "
        f"{100 * cpu / took:.1f} % of a core"
    )
    return 100 * cpu / took


def used() -> float:
    """Processor time of all ended children, seconds."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def drain(master: int) -> None:
    """A terminal that takes whatever comes."""
    while os.read(master, 1 << 16):
        pass


def fill(made, instances: int, models: int) -> None:  # type: ignore[no-untyped-def]
    """A session in which most is done."""
    from trajmake.sessions import layout

    made.session("s", usd=12.5)
    chance = random.Random(1)
    for model in (f"model-{number}" for number in range(models)):
        for number in range(instances):
            name, point = f"owner__repo-{number:04}", chance.random()
            if point < 0.85:
                status = "time_limit" if point < 0.05 else "submitted"
                made.run("s", model, name, point > 0.3, exit_status=status)
            elif point < 0.88:
                made.fault("s", model, name)
            else:
                made.place(layout.INSTANCE, "s", model, name).mkdir(parents=True, exist_ok=True)


def go_on(made, names: list[str], over: threading.Event) -> None:  # type: ignore[no-untyped-def]
    """Eight runs take steps, and one after the other ends."""
    claims = [made.working("s", "model-0", name) for name in names[:8]]
    for claim in claims:
        claim.__enter__()
    turn = 0
    while not over.wait(1.0):
        turn += 1
        for place in range(turn % 2, 8, 2):
            made.step("s", "model-0", names[place], turn, f"sed -n {turn},+20p src/module_{place}.py")
        made.run("s", "model-0", names[8 + turn % (len(names) - 8)], turn % 3 > 0)


if __name__ == "__main__":
    main()
