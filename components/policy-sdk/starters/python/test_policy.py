import unittest
from types import SimpleNamespace

import policy
from componentize_py_types import Err
from wit_world.imports.types import Attribute, Verdict_Accept, Verdict_Hold


def to(*addresses):
    return SimpleNamespace(envelope=SimpleNamespace(recipients=list(addresses)))


class Test(unittest.TestCase):
    def test_too_many_recipients_are_held(self):
        policy.Configure().configure([Attribute("max-recipients", "1")])
        decide = policy.Decide().decide
        self.assertEqual(decide(to("ada@reader.test")).verdict, Verdict_Accept())
        self.assertIsInstance(decide(to("ada@reader.test", "bob@reader.test")).verdict, Verdict_Hold)

    def test_unknown_settings_are_refused(self):
        with self.assertRaises(Err):
            policy.Configure().configure([Attribute("max", "1")])


if __name__ == "__main__":
    unittest.main()
