"""Adapter of rule grade."""

from trajmake.stages.grade import grade

grade(
    snakemake.config,
    model=snakemake.wildcards.model,
    instance_id=snakemake.wildcards.instance_id,
    trajectory=snakemake.input.trajectory,
    test_output=snakemake.input.log,
    test_run=snakemake.input.run,
    verdict=snakemake.output.verdict,
    reports=[snakemake.output.report, snakemake.output.official],
    outcome_file=snakemake.output.outcome,
    log=snakemake.log[0],
)
