# Trajectories: the dear stage. Repeated only for its row, its model's settings,
# a fault of its own, or --forcerun.
#
# in:  images/fetched/SESSION/{image}.loaded and {bundle}.built where these have to come, digests of row and model
# out: trajectories/{session}/{model}/instance_{instance_id}/{output.jsonl,metadata.json}
from trajmake.stages import forked


rule turn_before:
    """Wait for the end of the turn before a model's: for the gate, whose inputs Snakemake looks through for each run."""
    input:
        previous_turn,
    output:
        touch(f"{RESULTS}/gates/{{model}}.before"),
    priority: 90  # as the gate's
    message:
        "The turn before that of {wildcards.model} is over"


rule gate:
    """Open a model's turn. Where models run in turn, after the end of the one before it."""
    input:
        turn_before,
    output:
        touch(f"{RESULTS}/gates/{{model}}.gate"),
    priority: 90  # nothing of the turn can leave before, and images would pile up
    params:
        opening=opening,
    message:
        "Opening the turn of {wildcards.model}"


rule generate:
    """Let the agent work in the instance's container; keep the trajectory and its patch."""
    input:
        unpack(needs),
    output:
        trajectory=f"{INSTANCE}/output.jsonl",
        metadata=f"{INSTANCE}/metadata.json",
    log:
        f"{LOGS}/{{model}}/instance_{{instance_id}}.log",
    priority: 20
    resources:
        **SIZES["generate"],
        container=1,
    params:
        row=row_digest,
        model=model_digest,
        faults=faults_of("generate"),
    message:
        "{wildcards.model} works on {wildcards.instance_id}"
    run:
        forked.run(
            "generate",
            config,
            model=wildcards.model,
            instance_id=wildcards.instance_id,
            **output,
            log=log[0],
        )
