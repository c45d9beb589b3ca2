# Which instances are run, which are calibrated, what agents bring along: input functions beside common.smk's.
# Constants: SIZES, what a job of a rule needs of its node.
from trajmake import agents, resources
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


def agent_bundle(wildcards):
    """The record of the agent's bundle, for a run that is going to be."""
    due = PLAN.due(wildcards.model, wildcards.instance_id)
    names = agents.bundles(SETTINGS.catalog[wildcards.model].agent) if due else []
    return expand(f"{OUT}/{layout.BUNDLES}/{{bundle}}.json", bundle=names)


def chosen_runs(wildcards):
    """What `trajmake retry` chose."""
    with reported():
        return retrying.targets(OUT, SESSION)
