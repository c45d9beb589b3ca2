"""Adapter of rule generate."""

from trajmake.stages.generate import generate

generate(
    snakemake.config,
    model=snakemake.wildcards.model,
    instance_id=snakemake.wildcards.instance_id,
    trajectory=snakemake.output.trajectory,
    metadata=snakemake.output.metadata,
    log=snakemake.log[0],
)
