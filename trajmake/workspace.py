"""The repository inside a container: where it is, and its environment.

Shared by the agent's stage and the test run, so that both meet the same workspace.
"""

from __future__ import annotations

import shlex

from trajmake.engines.base import Container
from trajmake.errors import EnvironmentBrokenError

QUIET = {
    "PAGER": "cat",
    "MANPAGER": "cat",
    "GIT_PAGER": "cat",
    "LESS": "-R",
    "PIP_PROGRESS_BAR": "off",
    "TQDM_DISABLE": "1",
}
"""Variables that keep programs from waiting for a terminal or drawing on it."""

GIT_ENV = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_NO_REPLACE_OBJECTS": "1",
    # The repository belongs to whoever built the image; "dubious ownership" must not stop us.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}
"""Variables for our own git commands: nobody's configuration but the repository's."""

_SECONDS = 120.0


PLACES = ("/app/repo", "/testbed", "/workspace/*", "/home/*")
"""Where images have the repository when the row does not say."""

ENVIRONMENTS = ("/saved/ENV", "/saved/*/ENV", "/root/.bashrc")
"""What enters an image's environment when a shell reads it."""


def find_script(repo_path: str = "") -> str:
    """Shell code that changes into the repository, or exits with 1."""
    places = " ".join([*([shlex.quote(repo_path)] if repo_path else []), *PLACES])
    return (
        f"found=; for place in {places}; do\n"
        '  if [ -e "$place/.git" ]; then cd -- "$place" && found=$PWD && break; fi\n'
        'done\n[ -n "$found" ] || exit 1\n'
    )


def find_repository(container: Container, repo_path: str = "") -> tuple[str, tuple[str, ...]]:
    """The repository's folder, ``repo_path`` or else the first of :data:`PLACES`; and a warning where it is else.

    Raises:
        EnvironmentBrokenError: no git repository in any of them.
        ContainerLostError: see :meth:`Container.run`.
    """
    result = container.run(find_script(repo_path) + 'printf "%s\\n%s" "$place" "$found"', timeout=_SECONDS)
    if result.exit_code != 0:
        wanted = f"there is none at the row's repo_path {repo_path}; " if repo_path else ""
        raise EnvironmentBrokenError(
            f"No git repository in container {container.name}: {wanted}looked at {', '.join(PLACES)}.",
            "Name the repository's folder in the row's `repo_path`, or mend the image.",
        )
    place, _, found = result.text.partition("\n")
    if not repo_path or place == repo_path:
        return found, ()
    return found, (f"There is no git repository at the row's repo_path {repo_path}; that at {found} is used.",)


def environment_script() -> str:
    """Shell code that prints the file which enters the image's environment, if there is one."""
    return f'for file in {" ".join(ENVIRONMENTS)}; do if [ -f "$file" ]; then printf %s "$file"; break; fi; done'


def environment(container: Container) -> dict[str, str]:
    """Variables for every command in the workspace: no pagers, and the image's own environment.

    ``BASH_ENV`` makes each ``bash -c`` enter it: the first of :data:`ENVIRONMENTS`.
    Shells that such a shell starts inherit it and do not enter again: a
    ``.bashrc`` that starts a bash script (pyenv's does) would recurse for ever.

    Raises:
        ContainerLostError: see :meth:`Container.run`.
    """
    entered = container.run(environment_script(), timeout=_SECONDS).text
    if not entered:
        return dict(QUIET)
    # bash expands the value: the whole name at first, nothing once the exported counter has moved.
    once = "${TRAJMAKE_ENTER:$((TRAJMAKE_SHELLS++ ? 4096 : 0))}"
    return {**QUIET, "BASH_ENV": once, "TRAJMAKE_ENTER": entered, "TRAJMAKE_SHELLS": "0"}
