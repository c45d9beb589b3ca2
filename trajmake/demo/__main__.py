"""``python -m trajmake.demo --destination demo/data``: build the demo's instances."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trajmake.demo import prepare
from trajmake.errors import TrajmakeError


def main() -> int:
    """Parse the command line, build, and print what is there."""
    parser = argparse.ArgumentParser(prog="python -m trajmake.demo", description="Build the demo's instances.")
    parser.add_argument("--destination", type=Path, required=True, help="folder of instances.jsonl and images/")
    parser.add_argument("--engine", default="auto", help="where the tests are run: auto, docker, namespace, apptainer")
    parser.add_argument("--base-image", metavar="NAME", help="Docker image to start from (bash, git, python3)")
    parser.add_argument("--jobs", type=int, default=2, help="instances built at the same time")
    options = parser.parse_args()
    try:
        written = prepare(options.destination, options.engine, options.base_image, options.jobs)
    except TrajmakeError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    print(*written, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
