# The shape of Trajmake's graph without Trajmake: the same files, jobs that do nothing, no function.
import json

GIVEN = json.load(open("ids.json"))
MODELS, INSTANCES = GIVEN["models"], GIVEN["instances"]
OUT = "outputs"
INSTANCE = OUT + "/trajectories/s/{model}/instance_{instance_id}"
EVALUATION = INSTANCE + "/eval_outputs/{instance_id}"
RESULTS = OUT + "/results/s"
LOGS = OUT + "/logs/s"
OUTCOMES = expand(EVALUATION + "/outcome.json", model=MODELS, instance_id=INSTANCES)


wildcard_constraints:
    model=r"[^/\s]+",
    instance_id=r"[^/\s]+",
    image=r"[^/\s]+",


localrules:
    all,
    verify,


rule all:
    input:
        expand(INSTANCE + "/output.jsonl", model=MODELS, instance_id=INSTANCES),
        OUTCOMES,
        RESULTS + "/results.csv",
        expand(RESULTS + "/{model}_summary.txt", model=MODELS),
        expand(RESULTS + "/html/{model}", model=MODELS),
        expand(
            RESULTS + "/released/{model}/{image}.json", model=MODELS, image=INSTANCES
        ),
        RESULTS + "/complete.json",
        RESULTS + "/html/index.html",


rule fetch_image:
    output:
        temp(OUT + "/images/{image}.tar"),
    shell:
        "touch {output}"


rule load_image:
    input:
        OUT + "/images/{image}.tar",
    output:
        OUT + "/images/{image}.loaded.json",
    shell:
        "touch {output}"


rule gate:
    output:
        RESULTS + "/gates/{model}.gate",
    shell:
        "touch {output}"


rule generate:
    input:
        RESULTS + "/gates/{model}.gate",
        OUT + "/images/{instance_id}.loaded.json",
    output:
        INSTANCE + "/output.jsonl",
        INSTANCE + "/metadata.json",
    log:
        LOGS + "/{model}/instance_{instance_id}.log",
    shell:
        "touch {output}"


rule run_tests:
    input:
        INSTANCE + "/output.jsonl",
    output:
        log=EVALUATION + "/test_output.txt",
        run=EVALUATION + "/test_run.json",
        patch=EVALUATION + "/patch.diff",
        script=EVALUATION + "/eval.sh",
    log:
        EVALUATION + "/run_instance.log",
    shell:
        "touch {output}"


rule grade:
    input:
        INSTANCE + "/output.jsonl",
        EVALUATION + "/test_output.txt",
        EVALUATION + "/test_run.json",
    output:
        INSTANCE + "/eval_output.jsonl",
        INSTANCE + "/eval_outputs/report.json",
        EVALUATION + "/report.json",
        EVALUATION + "/outcome.json",
    log:
        LOGS + "/{model}/instance_{instance_id}.grade.log",
    shell:
        "touch {output}"


rule release_image:
    input:
        OUT
        + "/trajectories/s/{model}/instance_{image}/eval_outputs/{image}/test_run.json",
    output:
        RESULTS + "/released/{model}/{image}.json",
    log:
        LOGS + "/images/{model}/{image}.release_image.log",
    shell:
        "touch {output}"


rule summarize_model:
    input:
        expand(EVALUATION + "/outcome.json", instance_id=INSTANCES, allow_missing=True),
        expand(INSTANCE + "/output.jsonl", instance_id=INSTANCES, allow_missing=True),
    output:
        RESULTS + "/{model}_summary.txt",
        RESULTS + "/{model}.preds.json",
        RESULTS + "/{model}.run_report.json",
    log:
        LOGS + "/{model}/summarize_model.log",
    shell:
        "touch {output}"


rule trajectory_pages:
    input:
        expand(EVALUATION + "/outcome.json", instance_id=INSTANCES, allow_missing=True),
    output:
        directory(RESULTS + "/html/{model}"),
    log:
        LOGS + "/{model}/trajectory_pages.log",
    shell:
        "mkdir {output}"


rule session_page:
    input:
        OUTCOMES,
        expand(RESULTS + "/html/{model}", model=MODELS),
    output:
        RESULTS + "/html/index.html",
        RESULTS + "/html/session.html",
    shell:
        "touch {output}"


rule summarize:
    input:
        OUTCOMES,
    output:
        RESULTS + "/results.csv",
        RESULTS + "/final_report.txt",
        RESULTS + "/summary.json",
        RESULTS + "/faults.txt",
    shell:
        "touch {output}"


rule verify:
    input:
        RESULTS + "/faults.txt",
    output:
        RESULTS + "/complete.json",
    shell:
        "touch {output}"
