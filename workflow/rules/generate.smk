# Trajectories: the dear stage. Repeated only for its row, its model's settings,
# a fault of its own, or --forcerun.
#
# in:  images/{image}.loaded.json, the agent's bundle, the row's digest, the model's digest
# out: trajectories/{session}/{model}/instance_{instance_id}/{output.jsonl,metadata.json}


rule gate:
    """Open a model's turn. Where models run in turn, after the end of the one before it."""
    input:
        previous_turn,
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
    benchmark:
        f"{BENCHMARKS}/{{model}}/instance_{{instance_id}}.generate.tsv"
    priority: 20
    conda:
        "../../environment.yml"
    resources:
        **SIZES["generate"],
        container=1,
    params:
        row=row_digest,
        model=model_digest,
        faults=faults_of("generate"),
    message:
        "{wildcards.model} works on {wildcards.instance_id}"
    script:
        "../scripts/generate.py"
