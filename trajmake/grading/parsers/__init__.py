"""Test-log parsers by name: one module per framework, one line per name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from trajmake.errors import ConfigError
from trajmake.grading.log import clean
from trajmake.grading.parsers.reading import Reading, merge

PARSERS: dict[str, str] = {
    "python/parse_log_pytest": "pytest:read",
    "python/parse_log_pytest_v2": "pytest:read",
    "python/parse_log_pytest_v3": "pytest:read",
    "python/parse_log_pytest_options": "pytest:read_options",
    "python/parse_log_unittest": "unittest:read",
    "python/parse_log_django": "unittest:read_django",
    "python/parse_log_sympy": "sympy:read",
    "python/parse_log_seaborn": "pytest:read_seaborn",
    "python/parse_log_matplotlib": "matplotlib:read",
    "python/parse_log_tox": "tox:read",
    # Names that SWE-bench gives its repositories' parsers; they are the ones above.
    "python/parse_log_astroid": "pytest:read",
    "python/parse_log_flask": "pytest:read",
    "python/parse_log_marshmallow": "pytest:read",
    "python/parse_log_pvlib": "pytest:read",
    "python/parse_log_pyvista": "pytest:read",
    "python/parse_log_sqlfluff": "pytest:read",
    "python/parse_log_xarray": "pytest:read",
    "python/parse_log_astropy": "pytest:read",
    "python/parse_log_scikit": "pytest:read",
    "python/parse_log_sphinx": "pytest:read",
    "python/parse_log_pydicom": "pytest:read_options",
    "python/parse_log_requests": "pytest:read_options",
    "python/parse_log_pylint": "pytest:read_options",
    "javascript/parse_log_jest": "jest:read",
    "javascript/parse_log_jest_json": "jest_json:read",
    "javascript/parse_log_mocha_json": "mocha_json:read",
    "javascript/parse_log_vitest": "vitest:read",
    "javascript/parse_log_tap": "tap:read",
    "javascript/parse_log_playwright": "playwright:read",
    "typescript/parse_log_jest": "jest:read",
    "typescript/parse_log_jest_json": "jest_json:read",
    "typescript/parse_log_mocha_json": "mocha_json:read",
    "typescript/parse_log_vitest": "vitest:read",
    "typescript/parse_log_tap": "tap:read",
    "typescript/parse_log_playwright": "playwright:read",
    "go/parse_log_gotest": "gotest:read",
    "go/parse_log_gotest_json": "gotest:read_json",
    "java/parse_log_junit": "junit:read",
    "java/parse_log_maven": "maven:read",
    "java/parse_log_gradle": "gradle:read",
    "rust/parse_log_cargo_test": "cargo:read",
    "ruby/parse_log_minitest": "minitest:read",
    "parsers/ruby_minitest_parser.py": "minitest:read",
    "ruby/parse_log_rspec": "rspec:read",
    "php/parse_log_phpunit": "phpunit:read",
    "c/parse_log_check_framework": "check:read",
    "c/parse_log_ctest": "ctest:read",
    "c/parse_log_meson": "meson:read",
    "cpp/parse_log_google_test": "googletest:read",
    "cpp/parse_log_catch2": "catch2:read",
    "cpp/parse_log_ctest": "ctest:read",
    "cpp/parse_log_meson": "meson:read",
    "swelancer/parse_log_exitcode": "exitcode:read",
    "swelancer/parse_log_playwright": "playwright:read",
}
"""Name as rows give it → ``module:function`` in this package, imported when first asked for."""


def known() -> list[str]:
    """The names of all parsers, sorted."""
    return sorted(PARSERS)


def read(name: str, log: str) -> Reading:
    """Read ``log`` with the parser called ``name``; where that finds no test, JUnit XML in the log is read.

    Raises:
        ConfigError: no parser has this name.
    """
    log = clean(log)
    reading = _function(name)(log)
    if not reading.statuses and "<testsuite" in log:
        from trajmake.grading.parsers import junit

        return merge(reading, junit.read_xml(log))
    return reading


def parse(name: str, log: str) -> dict[str, str]:
    """Test id → PASSED, FAILED, ERROR, SKIPPED or XFAIL.

    An unexpected pass is no result in SWE-bench's list: pytest's XPASS is left
    out, so a required test that shows it fails; unittest's "unexpected success",
    which fails its run, is FAILED.

    Raises:
        ConfigError: no parser has this name.
    """
    return read(name, log).statuses


def _function(name: str) -> Callable[[str], Reading]:
    if name not in PARSERS:
        raise ConfigError(f"Unknown test output parser {name!r}.", f"Known parsers: {', '.join(known())}.")
    module, function = PARSERS[name].split(":")
    found: Callable[[str], Reading] = getattr(import_module(f"{__name__}.{module}"), function)
    return found
