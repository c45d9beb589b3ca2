# Pages for the browser. Nothing waits for them: they have the lowest priority of all.
#
# in:  outcome.json of every instance, and what else lies in the folders of the runs
# out: results/{session}/html/{model}/{instance_id}.html
from trajmake import pages

MODEL_PAGES = f"{OUT}/{layout.MODEL_PAGES}"


rule trajectory_pages:
    """A page for each of a model's runs. Made again for all of them, which takes seconds, when one has changed."""
    input:
        outcomes=expand(
            f"{EVALUATION}/outcome.json", instance_id=INSTANCES, allow_missing=True
        ),
    output:
        folder=directory(MODEL_PAGES),
    log:
        f"{LOGS}/{{model}}/trajectory_pages.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/trajectory_pages.tsv"
    priority: 0
    conda:
        "../../environment.yml"
    threads: 2
    params:
        instances=INSTANCES,
        pages=pages.code_digest(),
    message:
        "Making the pages of {wildcards.model}"
    script:
        "../scripts/trajectory_pages.py"
