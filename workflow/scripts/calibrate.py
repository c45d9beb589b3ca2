"""Adapter of rule calibrate."""

from trajmake.stages.calibrate import verify_calibration

verify_calibration(
    table=snakemake.input.table,
    log=snakemake.log[0],
)
