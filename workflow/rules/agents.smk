# What agents bring into containers, built once for all sessions.
#
# in:  trajmake/agents/openhands/requirements.txt (the bundle's name is its digest)
# out: images/fetched/SESSION/{bundle}.built (temporary), bundles/{bundle}.json; the bundle itself lies in
#      `openhands.bundles`
#
# The record, which all sessions share, is none of Snakemake's files, as that of an image.


localrules:
    build_bundle,  # nodes may reach no package index


rule build_bundle:
    """Put an interpreter and the agent's packages into a folder that runs in any container."""
    output:
        built=temp(touch(f"{FETCHED}/{{bundle}}.built")),
    log:
        f"{OUT}/logs/bundles/{{bundle}}.log",
    benchmark:
        f"{OUT}/benchmarks/bundles/{{bundle}}.tsv"
    wildcard_constraints:
        bundle=r"openhands-[0-9a-f]+",
    priority: 30
    conda:
        "../../environment.yml"
    params:
        faults=faults_of("build_bundle"),
        record=f"{OUT}/{layout.BUNDLES}/{{bundle}}.json",
    message:
        "Building {wildcards.bundle}"
    script:
        "../scripts/build_bundle.py"
