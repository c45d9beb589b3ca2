"""Adapter of rule calibration."""

from trajmake.stages.calibrate import calibrate

calibrate(
    snakemake.config,
    gold=snakemake.input.gold,
    empty=snakemake.input.empty,
    gold_reports=snakemake.input.gold_reports,
    empty_reports=snakemake.input.empty_reports,
    table=snakemake.output.table,
    log=snakemake.log[0],
)
