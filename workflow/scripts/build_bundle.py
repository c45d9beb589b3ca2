"""Adapter of rule build_bundle."""

from trajmake.stages.bundle import build_bundle

build_bundle(
    snakemake.config,
    record=snakemake.params.record,
    log=snakemake.log[0],
)
