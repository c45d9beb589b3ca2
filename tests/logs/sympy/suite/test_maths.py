from sympy import Symbol
from sympy.testing.pytest import SKIP, XFAIL, slow


def test_adds():
    assert Symbol("x") + 0 == Symbol("x")


def test_fails():
    assert 1 == 2


def test_raises():
    raise RuntimeError("boom")


@XFAIL
def test_xfail():
    raise AssertionError


@XFAIL
def test_xpass():
    assert True


@SKIP("not today")
def test_skipped():
    pass


@slow
def test_slow():
    pass


def test_prints():
    print("test_printed ok")
