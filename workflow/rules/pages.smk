# Pages for the browser. Nothing waits for them: they have the lowest priority of all.
#
# in:  outcome.json of every instance, and what else lies in the folders of the runs
# out: results/{session}/html/{model}/{instance_id}.html, index.html, session.html
from trajmake import pages

PAGES = f"{OUT}/{layout.PAGES}"
MODEL_PAGES = f"{OUT}/{layout.MODEL_PAGES}"
OVERVIEW = {
    "caption": "../report/session.rst",
    "category": "Overview",
    "labels": {"session": "{session}"},
}


localrules:
    session_page,
    trajectory_pages,


rule trajectory_pages:
    """A page for each of a model's runs. Made again for all of them, which takes seconds, when one has changed."""
    input:
        outcomes=every(f"{EVALUATION}/outcome.json"),
    output:
        folder=in_archive(
            directory(MODEL_PAGES),
            patterns=["{page}.html"],
            category="Trajectories",
            subcategory="{model}",
            labels={"instance": "{page}"},
        ),
    log:
        f"{LOGS}/{{model}}/trajectory_pages.log",
    benchmark:
        f"{BENCHMARKS}/{{model}}/trajectory_pages.tsv"
    priority: 0
    conda:
        "../../environment.yml"
    threads: 2
    params:
        selection=selection_digest,
        pages=pages.code_digest(),
    message:
        "Making the pages of {wildcards.model}"
    script:
        "../scripts/trajectory_pages.py"


rule session_page:
    """The session's page, which links to those of its runs; and the same with these in it."""
    input:
        outcomes=every(f"{EVALUATION}/outcome.json"),
        pages=expand(
            rules.trajectory_pages.output.folder, model=MODELS, allow_missing=True
        ),
    output:
        page=in_archive(f"{PAGES}/index.html", **OVERVIEW),
        single=in_one_file(f"{PAGES}/session.html", **OVERVIEW),
    log:
        f"{LOGS}/session_page.log",
    benchmark:
        f"{BENCHMARKS}/session_page.tsv"
    priority: 0
    conda:
        "../../environment.yml"
    params:
        selection=selection_digest,
        calibration=calibration_digest,
        pages=pages.code_digest(),
    message:
        "Making the page of session {wildcards.session}"
    script:
        "../scripts/session_page.py"
