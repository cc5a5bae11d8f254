"""Runs the unit tests of the local cloud, and prints their numbers as Node's test runner does."""

import pathlib
import sys
import unittest

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

result = unittest.TextTestRunner(stream=sys.stdout).run(unittest.defaultTestLoader.discover(str(FOLDER)))
failed = len(result.failures) + len(result.errors)
print(f"# pass {result.testsRun - failed - len(result.skipped)}")
print(f"# fail {failed}")
print(f"# skipped {len(result.skipped)}")
sys.exit(failed > 0)
