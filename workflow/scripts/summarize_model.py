"""Adapter of rule summarize_model."""

from trajmake.stages.summarize import summarize_model

summarize_model(
    snakemake.config,
    model=snakemake.wildcards.model,
    outcomes=snakemake.input.outcomes,
    trajectories=snakemake.input.trajectories,
    summary=snakemake.output.summary,
    predictions_file=snakemake.output.predictions,
    run_report=snakemake.output.run_report,
    log=snakemake.log[0],
)
