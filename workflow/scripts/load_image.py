"""Adapter of rule load_image."""

from trajmake.stages.images import load_image

load_image(
    snakemake.config,
    uri=snakemake.params.uri,
    tarball=snakemake.input.tarball,
    record=snakemake.output.record,
    log=snakemake.log[0],
)
