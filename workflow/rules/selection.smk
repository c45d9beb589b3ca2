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


def calibrated(wildcards):
    """What each candidate came to with both agents. A function: others who run Snakemake pay for no list of them."""
    kinds = {"": "outcome", "_reports": "report"}
    return {
        f"{model}{kind}": expand(
            f"{EVALUATION}/{file}.json",
            session=wildcards.session,
            model=model,
            instance_id=PLAN.candidates,
        )
        for model in ("gold", "empty")
        for kind, file in kinds.items()
    }


def every(pattern):
    """Input function: this file of each selected run, image and model that the job's wildcards leave open.
    A function: each start of Snakemake, and on a cluster each job's, would pay for a list.
    """

    def files(wildcards):
        chosen = {"session": SESSION, "model": MODELS, "instance_id": INSTANCES}
        return expand(pattern, **{**chosen, "image": PLAN.images, **dict(wildcards)})

    return files


def opening(wildcards):
    return PLAN.opening


def turn_before(wildcards):
    """Where models run in turn, the mark that the one before is over."""
    own = [wildcards.model] if PLAN.models_before(wildcards.model) else []
    return expand(f"{RESULTS}/gates/{{model}}.before", session=SESSION, model=own)


def chosen_runs(wildcards):
    """What `trajmake retry` chose."""
    with reported():
        return retrying.targets(OUT, SESSION)
