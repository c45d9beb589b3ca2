"""Run one command and say what it cost: ``python -I -S measured.py REPORT COMMAND...``.

A process of its own, and a small one, because Linux hands the size of the process that starts a
program on to that program's largest resident size. For the same reason it imports next to nothing.
"""

import json
import os
import sys
import time

PAUSE = 0.2  # seconds between two looks at the tree's memory


def tree(root):
    """The living processes below and with ``root``."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as stream:
                    waiting += map(int, stream.read().split())
        except OSError:
            continue  # it has ended
    return found


def memory(pid):
    """Proportional memory in bytes: what several processes share is counted once."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as stream:
            for line in stream:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # it has ended
    return 0


def machine():
    """Processor seconds of everything that ran here since the start, idle time and waits apart."""
    with open("/proc/stat") as stream:
        user, nice, system, _, _, irq, softirq = map(int, stream.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def main():
    report, command = sys.argv[1], sys.argv[2:]
    everything, began = machine(), time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    together = 0
    ended, status, usage = 0, 0, None
    looked = began
    while not ended:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            break
        if time.perf_counter() - looked > PAUSE:
            looked = time.perf_counter()
            together = max(together, sum(map(memory, tree(pid))))
        time.sleep(0.005)
    wall = time.perf_counter() - began
    found = {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "machine": machine() - everything,
        "largest": usage.ru_maxrss * 1024,
        "together": max(together, usage.ru_maxrss * 1024),
        "code": os.waitstatus_to_exitcode(status),
    }
    with open(report, "w") as stream:
        json.dump(found, stream)


main()
