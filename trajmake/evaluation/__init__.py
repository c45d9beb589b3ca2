"""Evaluation: a patch is applied to a fresh copy of the repository and the tests are run."""

from __future__ import annotations

from trajmake.evaluation.run import eval_script, run_tests

__all__ = ["eval_script", "run_tests"]
