# Images: image URI -> tarball -> loaded in the engine -> released after the last test run.
#
# in:  the URIs of the dataset's rows
# out: images/fetched/SESSION/{image}.tar and {image}.loaded (temporary), images/{image}.loaded.json,
#      results/{session}/released/{model}/{image}.json
#
# Sessions run side by side in one folder. Snakemake removes the output of a job before it, after a failure, and, where it
# is temporary, after its use; it touches what a job has made, and takes a job for failed whose input is newer than its
# output. So all files of these rules are the session's own, and the record, which sessions share, is none of them.
#
# Jobs are forked off a process that has the library: an interpreter would cost more than what they do.
from trajmake.stages import forked


localrules:
    release_image,


rule fetch_image:
    """Bring an image's tarball here, whole or not at all."""
    output:
        tarball=unless_kept(f"{FETCHED}/{{image}}.tar"),
    log:
        f"{OUT}/logs/images/{{image}}.fetch_image.log",
    priority: 1  # before the pages, which nothing waits for
    resources:
        **SIZES["fetch_image"],
    params:
        uri=image_uri,
        faults=faults_of("fetch_image"),
    message:
        "Fetching image {wildcards.image}"
    run:
        forked.run(
            "fetch_image",
            config,
            uri=params.uri,
            tarball=output.tarball,
            log=log[0],
        )


rule load_image:
    """Load a tarball into the engine and record id, size and tags.

    The record is kept for good, and who has it loads nothing; whether the image is still there is asked by id before
    each use.
    """
    input:
        tarball=rules.fetch_image.output.tarball,
    output:
        loaded=temp(touch(f"{FETCHED}/{{image}}.loaded")),
    log:
        f"{OUT}/logs/images/{{image}}.load_image.log",
    priority: 10
    resources:
        **SIZES["load_image"],
    params:
        uri=image_uri,
        faults=faults_of("load_image"),
    message:
        "Loading image {wildcards.image}"
    run:
        forked.run(
            "load_image",
            config,
            uri=params.uri,
            tarball=input.tarball,
            record=f"{OUT}/{layout.LOADED.format(name=wildcards.image)}",
            log=log[0],
        )


rule release_image:
    """Free an image after the last test run of a model's turn, unless it is to be kept or was here before."""
    input:
        tested=tested_instances,
    output:
        record=f"{RESULTS}/released/{{model}}/{{image}}.json",
    log:
        f"{LOGS}/images/{{model}}/{{image}}.release_image.log",
    priority: 60
    message:
        "Releasing image {wildcards.image}"
    run:
        forked.run("release_image", config, image=wildcards.image, **output, log=log[0])
