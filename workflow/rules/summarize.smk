# Summaries: derived from the outcomes alone, the same bytes whatever the order of the jobs.
#
# in:  eval_outputs/{instance_id}/outcome.json of every model and instance
# out: results/{session}/{results.csv,final_report.txt,summary.json,{model}_summary.txt,{model}.preds.json,
#      {model}.run_report.json}, complete.json when the machine met no fault
#
# A run that ends copies the session to `results.uri`, where that is set.
# Where jobs were killed outright, results.csv and final_report.txt come from `onerror`, marked incomplete.
from trajmake import notifications
from trajmake.images import host
from trajmake.sessions import mirror
from trajmake.stages.summarize import leave_incomplete


onsuccess:
    with reported():
        if not workflow.storage_settings.notemp:
            host.sweep(SETTINGS)
        notifications.completed(SETTINGS, workflow)
        mirror.after_run(SETTINGS)


onerror:
    with reported():
        leave_incomplete(SETTINGS, INSTANCES, workflow)
        notifications.failed(SETTINGS, workflow)
        mirror.after_run(SETTINGS)


localrules:
    summarize,
    summarize_model,


rule summarize_model:
    """One model's numbers, its SWE-bench predictions and run report."""
    input:
        outcomes=every(f"{EVALUATION}/outcome.json"),
        trajectories=every(f"{INSTANCE}/output.jsonl"),
    output:
        summary=in_summary(
            f"{RESULTS}/{{model}}_summary.txt", "model_summary", "{model}"
        ),
        predictions=f"{RESULTS}/{{model}}.preds.json",
        run_report=f"{RESULTS}/{{model}}.run_report.json",
    log:
        f"{LOGS}/{{model}}/summarize_model.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/summarize_model.tsv"
    priority: 70
    conda:
        "../../environment.yml"
    params:
        selection=selection_digest,
    message:
        "Summarizing {wildcards.model}"
    script:
        "../scripts/summarize_model.py"


rule summarize:
    """The session's table and final report."""
    input:
        outcomes=every(f"{EVALUATION}/outcome.json"),
    output:
        table=in_summary(f"{RESULTS}/results.csv", "results", "all runs"),
        report=in_summary(f"{RESULTS}/final_report.txt", "final_report", "final report"),
        summary=f"{RESULTS}/summary.json",
        faults=f"{RESULTS}/faults.txt",
    log:
        f"{LOGS}/summarize.log",
    benchmark:
        f"{BENCHMARKS}/summarize.tsv"
    priority: 80
    conda:
        "../../environment.yml"
    params:
        selection=selection_digest,
    message:
        "Summarizing session {wildcards.session}"
    script:
        "../scripts/summarize.py"


rule verify:
    """Fail, naming them, while the machine's faults are among the results: they never pass for success."""
    input:
        faults=rules.summarize.output.faults,
    output:
        complete=f"{RESULTS}/complete.json",
    log:
        f"{LOGS}/verify.log",
    conda:
        "../../environment.yml"
    message:
        "Looking for faults in session {wildcards.session}"
    script:
        "../scripts/verify.py"


rule retry:
    """The runs that `trajmake retry` chose, where their names are too many for a command line."""
    input:
        chosen_runs,
    message:
        "What was chosen is done"
