# What goes into which kind of `snakemake --report`, and what its pages depend on: functions beside common.smk's.
import sys

from trajmake.request import wants_archive
from trajmake.sessions import calibration

ARCHIVE = wants_archive(sys.argv)


def in_summary(path, caption, what):
    """One of the report's tables and texts."""
    about = f"../report/{caption}.rst"
    return report(path, caption=about, category="Summary", labels={"what": what})


def in_archive(path, **mark):
    """Part of a report that is an archive: links between its files work there, and in one HTML file do not."""
    return report(path, **mark) if ARCHIVE else path


def in_one_file(path, **mark):
    """Part of a report that is one HTML file, which must hold itself what it leads to."""
    return path if ARCHIVE else report(path, **mark)


def calibration_digest(wildcards):
    """The session's page shows its calibration, where there is one."""
    return calibration.digest(f"{OUT}/{layout.CALIBRATION.format(**wildcards)}")
