"""Adapter of rule run_tests."""

from trajmake.stages.run_tests import run_tests

run_tests(
    snakemake.config,
    model=snakemake.wildcards.model,
    instance_id=snakemake.wildcards.instance_id,
    trajectory=snakemake.input.trajectory,
    test_output=snakemake.output.log,
    test_run=snakemake.output.run,
    patch=snakemake.output.patch,
    script=snakemake.output.script,
    log=snakemake.log[0],
)
