"""Adapter of rule session_page."""

from trajmake.stages.session_page import session_page

session_page(
    snakemake.config,
    outcomes=snakemake.input.outcomes,
    archived={
        folder.rpartition("/")[2]: str(snakemake.report_href(folder).child_path("")) for folder in snakemake.input.pages
    },
    page=snakemake.output.page,
    single=snakemake.output.single,
    log=snakemake.log[0],
)
