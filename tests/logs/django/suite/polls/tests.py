import unittest

from django.contrib.auth.models import User
from django.test import TestCase


class PollTests(TestCase):
    def test_ok(self):
        pass

    def test_fails(self):
        self.assertEqual(1, 2)

    def test_doc(self):
        """The first line. Really

        And more.
        """

    @unittest.skip("not today")
    def test_skipped(self):
        pass

    def test_database(self):
        print("printed")
        self.assertEqual(User.objects.count(), 0)

    def test_raises(self):
        raise RuntimeError("boom")
