# Which instances are run, which are calibrated, input functions beside common.smk's.
# Constants: SIZES, what a job of a rule needs of its node.
from trajmake import resources
from trajmake import retry as retrying

SIZES = resources.of(SETTINGS)


def only_calibrated(wildcards):
    """No file; ends the run where `only_valid` is set and no calibration is there."""
    with reported():
        PLAN.check_calibration()
    return []


def selection_digest(wildcards):
    """What the summaries are made of; ends the run as `only_calibrated` does."""
    with reported():
        return PLAN.selection_digest


def calibrating(model, pattern):
    return expand(pattern, model=model, instance_id=PLAN.candidates, allow_missing=True)


def opening(wildcards):
    return PLAN.opening


def chosen_runs(wildcards):
    """What `trajmake retry` chose."""
    with reported():
        return retrying.targets(OUT, SESSION)
