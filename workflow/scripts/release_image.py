"""Adapter of rule release_image."""

from trajmake.stages.images import release_image

release_image(
    snakemake.config,
    image=snakemake.wildcards.image,
    record=snakemake.output.record,
    log=snakemake.log[0],
)
