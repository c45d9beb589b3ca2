# Images: image URI -> tarball -> loaded in the engine -> released after the last test run.
#
# in:  the URIs of the dataset's rows
# out: images/fetched/SESSION/{image}.tar (temporary), images/{image}.loaded.json,
#      results/{session}/released/{model}/{image}.json
#
# Sessions run side by side in one folder, and Snakemake removes the output of a job before it, and what is temporary
# after its use: so each session has tarballs of its own, and the record, which all share, is updated in its place.
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

    The record is kept for good; whether the image is still there is asked by id before each use.
    """
    input:
        tarball=rules.fetch_image.output.tarball,
    output:
        record=update(f"{IMAGES}/{{image}}.loaded.json"),
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
        forked.run("load_image", config, uri=params.uri, **input, **output, log=log[0])


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
