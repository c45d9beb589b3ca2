# Calibration, for `snakemake calibrate`: can each instance tell a fix from none?
#
# in:  outcome.json and report.json of the agents gold and empty on every selected
#      instance, in the same session, whatever `models` says
# out: results/{session}/calibration.csv, which `only_valid: true` reads


localrules:
    calibration,


rule calibration:
    """Say of each instance whether it is valid, broken or flaky."""
    input:
        unpack(calibrated),
    output:
        table=in_summary(f"{RESULTS}/calibration.csv", "calibration", "calibration"),
    log:
        f"{LOGS}/calibration.log",
    benchmark:
        f"{BENCHMARKS}/calibration.tsv"
    priority: 80
    conda:
        "../../environment.yml"
    params:
        selection=PLAN.candidates_digest,
    message:
        "Calibrating the dataset"
    script:
        "../scripts/calibration.py"


rule calibrate:
    """Calibrate every selected instance; fail while a fault of the machine leaves one unknown."""
    input:
        table=expand(rules.calibration.output.table, session=SESSION)[0],
    log:
        expand(f"{LOGS}/calibrate.log", session=SESSION)[0],
    conda:
        "../../environment.yml"
    message:
        "The dataset is calibrated"
    script:
        "../scripts/calibrate.py"
