# Trajmake: make for agent trajectories.
#
#   fetch_image -> load_image -> generate -> run_tests -> grade -> summarize
#
# Every artefact is a file; docs/formats.md says what lies where. Rules wire,
# workflow/scripts/ adapt, the library trajmake/ thinks.
from snakemake.utils import min_version

from trajmake.sessions import temporary

min_version("9.25")
temporary.own(workflow.snakemake_tmp_dir)


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/selection.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/agents.smk"
include: "workflow/rules/generate.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/calibrate.smk"
include: "workflow/rules/summarize.smk"
include: "workflow/rules/pages.smk"


report: "workflow/report/workflow.rst"


localrules:
    all,
    calibrate,
    gate,
    retry,
    turn_before,
    verify,


rule all:
    """Everything a session leaves. Per-instance files stand here by name: a deleted
    one that only a finished summary needs would not be made again."""
    default_target: True
    input:
        only_calibrated,
        every(f"{INSTANCE}/output.jsonl"),
        every(f"{EVALUATION}/outcome.json"),
        expand(f"{RESULTS}/results.csv", session=SESSION),
        expand(f"{RESULTS}/{{model}}_summary.txt", session=SESSION, model=MODELS),
        expand(MODEL_PAGES, session=SESSION, model=MODELS),
        every(f"{RESULTS}/released/{{model}}/{{image}}.json"),
        expand([f"{RESULTS}/complete.json", f"{PAGES}/index.html"], session=SESSION),
    message:
        f"Session {SESSION} is complete"
