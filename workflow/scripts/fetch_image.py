"""Adapter of rule fetch_image."""

from trajmake.stages.images import fetch_image

fetch_image(
    snakemake.config,
    uri=snakemake.params.uri,
    tarball=snakemake.output.tarball,
    log=snakemake.log[0],
)
