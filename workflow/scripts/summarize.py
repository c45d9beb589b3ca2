"""Adapter of rule summarize."""

from trajmake.stages.summarize import summarize

summarize(
    snakemake.config,
    outcomes=snakemake.input.outcomes,
    table=snakemake.output.table,
    report=snakemake.output.report,
    summary=snakemake.output.summary,
    faults=snakemake.output.faults,
    log=snakemake.log[0],
)
