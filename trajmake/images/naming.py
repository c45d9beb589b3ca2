"""Further names for images, under which other tools look them up."""

from __future__ import annotations

import logging
import re

from trajmake.sessions import layout
from trajmake.settings import Settings

logger = logging.getLogger(__name__)

# Docker's own rule for a name of one or more components, and for a tag (distribution/reference).
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)


def double_tags(options: Settings, uri: str) -> list[str]:
    """The names of the instances that use the image at ``uri``, in lower case; none unless ``images.double_tag``.

    They are ``mswebench/sweb.eval.x86_64.ID:latest`` and ``mswebench/OWNER_m_REPO:pr-ID``. An id that cannot
    be part of a name has none. ``uri`` is the public one.
    """
    if not options.images.double_tag:
        return []
    from trajmake.datasets import Dataset

    dataset = Dataset.of(options)
    tags = []
    for instance_id in dataset.select(options.instances):
        if dataset.problem(instance_id) or layout.public_uri(dataset.image_uri(instance_id)) != uri:
            continue
        owner, _, name = dataset.instance(instance_id).repo.partition("/")
        for tag in (
            f"mswebench/sweb.eval.x86_64.{instance_id}:latest".lower(),
            f"mswebench/{owner}_m_{name}:pr-{instance_id}".lower(),
        ):
            repository, _, version = tag.rpartition(":")
            if _NAME.fullmatch(repository) and _TAG.fullmatch(version):
                tags.append(tag)
            else:
                logger.warning("image %s: %s cannot be a tag", uri, tag)
    return tags
