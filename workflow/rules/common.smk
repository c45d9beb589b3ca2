# What all rules share: the settings, the names of places, a few input functions.
#
# Constants: SESSION, MODELS, INSTANCES (safe names), IMAGE_URIS (image -> URI),
# and the places of docs/formats.md with output_dir in front.
from trajmake import engines, plan
from trajmake.errors import reported
from trajmake.sessions import layout

with reported():
    SETTINGS = plan.settings(config, workflow)
    PLAN = plan.Plan(SETTINGS, workflow)
    ENGINE = engines.settle(
        config, elsewhere=workflow.is_main_process and workflow.non_local_exec
    )

SESSION = SETTINGS.session
MODELS = SETTINGS.models
INSTANCES = PLAN.instances
IMAGE_URIS = PLAN.image_uris

OUT = SETTINGS.output_dir
INSTANCE = f"{OUT}/{layout.INSTANCE}"
EVALUATION = f"{OUT}/{layout.EVALUATION}"
RESULTS = f"{OUT}/{layout.RESULTS}"
LOGS = f"{OUT}/{layout.LOGS}"
BENCHMARKS = f"{OUT}/{layout.BENCHMARKS}"
FETCHED = f"{OUT}/{layout.FETCHED.format(session=SESSION)}"


wildcard_constraints:
    session=layout.one_of([SESSION]),
    model=layout.one_of(SETTINGS.catalog),
    instance_id=layout.NAME,
    image=layout.NAME,


if PLAN.parallel_limit:
    workflow.register_resource("container", PLAN.parallel_limit)


onstart:
    if workflow.is_main_process:
        with reported():
            PLAN.start(ENGINE)


def unless_kept(path):
    """A tarball is gone once its image is loaded, unless `images.keep`."""
    return path if SETTINGS.images.keep else temp(path)


def image_uri(wildcards):
    return IMAGE_URIS[wildcards.image]


def needs(wildcards):
    """The turn, the image, the bundle that a run waits for. One function: a call costs Snakemake more than us."""
    due = PLAN.needs(wildcards.model, wildcards.instance_id)
    return {
        "gate": expand(
            f"{RESULTS}/gates/{{model}}.gate", session=SESSION, model=due.turn
        ),
        "image": expand(f"{FETCHED}/{{image}}.loaded", image=due.image),
        "bundle": expand(f"{FETCHED}/{{bundle}}.built", bundle=due.bundle),
    }


def tested_instances(wildcards):
    """The test runs that use an image in the model's turn."""
    return expand(
        f"{EVALUATION}/test_run.json",
        session=wildcards.session,
        model=PLAN.models_beside(wildcards.model),
        instance_id=PLAN.instances_of(wildcards.image),
    )


def previous_turn(wildcards):
    """The end of the turn before: its summary, its images released."""
    ends = ["{model}_summary.txt", "released/{model}/{image}.json"]
    before = expand(ends, model=PLAN.models_before(wildcards.model), image=PLAN.images)
    return expand(f"{RESULTS}/{{end}}", session=SESSION, end=before)


def row_digest(wildcards):
    return PLAN.row_digest(wildcards.instance_id)


def model_digest(wildcards):
    return PLAN.model_digest(wildcards.model, wildcards.instance_id)


def faults_of(stage):
    """Faults recorded so far for a stage of this subject: one more, and the next run repeats it."""

    def count(wildcards):
        return PLAN.faults(stage, wildcards)

    return count
