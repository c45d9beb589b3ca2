"""Adapter of rule verify."""

from trajmake.stages.summarize import verify

verify(
    faults=snakemake.input.faults,
    complete=snakemake.output.complete,
    log=snakemake.log[0],
)
