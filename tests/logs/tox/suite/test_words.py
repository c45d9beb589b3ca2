import pytest


def test_adds():
    pass


def test_fails():
    assert 1 == 2


@pytest.mark.parametrize("text", ["a b"])
def test_param(text):
    pass
