# Evaluation: run_tests needs a container and minutes, grade is pure and needs milliseconds.
#
# in:  output.jsonl, the row
# out: eval_outputs/{instance_id}/{test_output.txt,test_run.json} (run_tests),
#      eval_output.jsonl, eval_outputs/report.json, eval_outputs/{instance_id}/outcome.json (grade)
from trajmake.stages import forked
from trajmake.stages.grade import grade


localrules:
    grade,


rule run_tests:
    """Apply the patch and the test patch in a fresh container, run the tests, keep the whole log."""
    input:
        trajectory=rules.generate.output.trajectory,
    output:
        test_output=f"{EVALUATION}/test_output.txt",
        test_run=f"{EVALUATION}/test_run.json",
        patch=f"{EVALUATION}/patch.diff",
        script=f"{EVALUATION}/eval.sh",
    log:
        f"{EVALUATION}/run_instance.log",
    priority: 40
    resources:
        **SIZES["run_tests"],
        container=1,
    params:
        row=row_digest,
        evaluation=PLAN.evaluation_digest,
        faults=faults_of("run_tests"),
    message:
        "Testing {wildcards.model} on {wildcards.instance_id}"
    run:
        forked.run(
            "run_tests",
            config,
            model=wildcards.model,
            instance_id=wildcards.instance_id,
            log=log[0],
            **{**input, **output},
        )


rule grade:
    """Read the verdict out of the saved log. Repeated for all rows when the grading code changed.

    In Snakemake's own process, on clusters too: an interpreter would cost more than the verdict.
    """
    input:
        trajectory=rules.generate.output.trajectory,
        test_output=rules.run_tests.output.test_output,
        test_run=rules.run_tests.output.test_run,
    output:
        verdict=f"{INSTANCE}/eval_output.jsonl",
        report=f"{INSTANCE}/eval_outputs/report.json",
        official=f"{EVALUATION}/report.json",
        outcome=f"{EVALUATION}/outcome.json",
    log:
        f"{LOGS}/{{model}}/instance_{{instance_id}}.grade.log",
    priority: 50
    params:
        grading=PLAN.grading_digest,
        faults=faults_of("grade"),
    message:
        "Grading {wildcards.model} on {wildcards.instance_id}"
    run:
        grade(config, **wildcards, **input, **output, log=log[0])
