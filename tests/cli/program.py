"""The `runnel` program as a user sees it: what its tests share. Usage: usage_test.py PROGRAM [unittest arguments]"""
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = str(Path(sys.argv.pop(1)).resolve()) if len(sys.argv) > 1 else "runnel"
DEMO = str(next((ROOT / "models").glob("demo-*.gguf")))
TINY = ROOT / "tests" / "models" / "tiny-lfm2"


def run(*arguments, stdin="", environment=None, timeout=300):
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)], input=stdin.encode(), capture_output=True, timeout=timeout,
        env={**os.environ, **(environment or {})})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def good(self, *arguments, **options):
        code, out, err = run(*arguments, **options)
        self.assertEqual(code, 0, err)
        return out, err

    def bad(self, code, text, *arguments, **options):
        got, out, err = run(*arguments, **options)
        self.assertEqual(got, code, err)
        self.assertIn(text, err)
        self.assertEqual(out, "")
