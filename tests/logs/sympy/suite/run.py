"""Run test_maths.py as SymPy's ``bin/test --verbose`` runs its own tests."""

from pathlib import Path

from sympy.testing.runtests import PyTestReporter, SymPyTests

reporter = PyTestReporter(True, "no", False, None)
tests = SymPyTests(reporter, [], None, None)
reporter.root_dir(str(Path(__file__).resolve().parent))
tests._testfiles = [str(Path(__file__).resolve().with_name("test_maths.py"))]
tests.test(sort=True)
