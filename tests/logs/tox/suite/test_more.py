import unittest


class C(unittest.TestCase):
    def test_ok(self):
        pass

    def test_bad(self):
        self.fail("bad")
