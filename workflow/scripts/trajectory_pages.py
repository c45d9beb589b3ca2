"""Adapter of rule trajectory_pages."""

from trajmake.stages.pages import trajectory_pages

trajectory_pages(
    snakemake.config,
    model=snakemake.wildcards.model,
    outcomes=snakemake.input.outcomes,
    folder=snakemake.output.folder,
    threads=snakemake.threads,
    log=snakemake.log[0],
)
