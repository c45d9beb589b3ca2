"""What a job of a dear stage needs of the node it runs on, from the limits of the configuration.

Schedulers kill what takes more, so these are bounds that an honest job never meets: what goes wrong
inside a job is for its own limits to say.
"""

from __future__ import annotations

import math

from trajmake.settings import Settings

_OWN_MB = 2048  # Snakemake twice, the job's own interpreter, an agent's libraries
_MARGIN_SECONDS = 3600  # an image of tens of GB comes in meanwhile, a provider pauses
_IMAGE = {"mem_mb": _OWN_MB, "runtime": 240}


def of(settings: Settings) -> dict[str, dict[str, int]]:
    """Resources by rule: ``mem_mb``, ``disk_mb`` (where there is a limit), ``cpus_per_task``, ``runtime`` (minutes)."""
    container, limits = settings.container, settings.limits
    size = {"cpus_per_task": max(1, math.ceil(container.cpus))}
    if container.memory_mb:
        size["mem_mb"] = container.memory_mb + _OWN_MB
    if container.disk_mb:
        size["disk_mb"] = container.disk_mb
    # Waits for a provider and for rate limits are not the agent's time, so its job may last much longer.
    generate = 2 * limits.instance_seconds
    # Besides the repeats: the control run, a killed run once more, and once without the patch.
    run_tests = (settings.evaluation.repeats + 3) * limits.test_seconds
    return {
        "fetch_image": dict(_IMAGE),
        "load_image": dict(_IMAGE),
        "generate": size | {"runtime": _minutes(generate)},
        "run_tests": size | {"runtime": _minutes(run_tests)},
    }


def _minutes(seconds: int) -> int:
    return math.ceil((seconds + _MARGIN_SECONDS) / 60)
