#!/usr/bin/env python3
"""What the program says of itself, and what it makes of wrong flags and files."""
import os
import pty
import signal
import subprocess
import time
import unittest
from pathlib import Path

from program import Case, DEMO, PROGRAM, run


class Usage(Case):
    def test_mistakes_are_usage_errors_with_a_hint(self):
        self.bad(2, "did you mean tokenize?", "tokenise")
        self.bad(2, "did you mean --prompt?", "run", "-m", DEMO, "--promt", "x")
        self.bad(2, "--model", "run", "-p", "x")
        self.bad(2, "unknown verb", "frobnicate")
        self.bad(2, "", "run", "-m", DEMO, "-p", "x", "-t", "-3")
        self.bad(2, "f16", "run", "-m", DEMO, "-p", "x", "--kv", "f8")
        self.bad(2, "backend", "run", "-m", DEMO, "-p", "x", "--backend", "abacus")
        self.bad(2, "temperature", "run", "-m", DEMO, "-p", "x", "--temp", "-1")
        self.bad(2, "did you mean --version?", "--versoin")
        self.bad(2, "a verb comes first", "-x", "chat")
        self.assertNotIn("mean", run("devices", "-c")[2])
        for flag in "--temp", "-n", "--seed", "--top-k":
            self.bad(2, "a number is missing", "run", "-m", DEMO, "-p", "x", flag, "")
        self.bad(2, "--ctx-size", "run", "-m", DEMO, "-p", "x", "-c", "")
        code, out, err = run()
        self.assertEqual((code, out), (2, ""))
        self.assertIn("chat", err)

    def test_help_and_version(self):
        self.assertIn("tokenize", self.good("--help")[0])
        self.assertIn("--temp", self.good("run", "--help")[0])
        self.assertRegex(self.good("--version")[0], r"^\d+\.\d+\.\d+")

    def test_bad_models_are_bad_input(self):
        self.bad(3, "missing.gguf", "run", "-m", self.folder / "missing.gguf", "-p", "x")
        broken = self.folder / "broken.gguf"
        broken.write_bytes(Path(DEMO).read_bytes()[:5000])
        self.bad(3, "broken.gguf", "inspect", broken)
        self.bad(3, "", "run", "-m", broken, "-p", "x")
        broken.write_bytes(b"not a model")
        self.bad(3, "", "chat", "-m", broken)

    def test_lost_output_is_an_error(self):
        for verb in ["tokenize", "-m", DEMO, "-p", "x"], ["inspect", DEMO, "--json"], ["devices"]:
            with open("/dev/full", "w") as full:
                done = subprocess.run([PROGRAM, *verb], stdout=full, stderr=subprocess.PIPE)
            self.assertEqual((done.returncode, b"standard output" in done.stderr), (3, True))

    def test_interrupts_end_with_130_and_leave_nothing(self):
        text = self.folder / "text"
        text.write_text("The cell is the unit of life. " * 40000)
        self.good("quantize", DEMO, self.folder / "f32.gguf", "f32")
        for verb in (["perplexity", "-m", DEMO, "-f", text, "--kl-base", self.folder / "base"],
                     ["imatrix", "-m", DEMO, "-f", text, "-o", self.folder / "im.gguf"],
                     ["logits", "-m", DEMO, "-c", 32768, "--backend", "reference", "-o", self.folder / "x.npy",
                      "--ids", ",".join(["5"] * 8000)],
                     ["quantize", self.folder / "f32.gguf", self.folder / "q.gguf", "q2_k", "-t", 1],
                     ["run", "-m", DEMO, "-p", text.read_text()[:20000], "--backend", "reference"],
                     ["chat", "-m", DEMO, "-p", text.read_text()[:20000], "--backend", "reference"],
                     ["bench", "-m", DEMO, "-n", 8000, "-r", 100]):
            going = subprocess.Popen([PROGRAM, *map(str, verb)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(0.6)
            going.send_signal(signal.SIGINT)
            out, err = going.communicate(timeout=120)
            self.assertEqual(going.returncode, 130, (verb[0], err))
            self.assertEqual({path.name for path in self.folder.iterdir()}, {"text", "f32.gguf"}, verb[0])

    def test_out_of_memory(self):
        limited = 'ulimit -v 90000; exec "$@"'
        verbs = ["quantize", DEMO, self.folder / "out.gguf", "f32"], ["bench", "--shape", "lfm2-2.6b"]
        for verb in verbs:
            done = subprocess.run(["bash", "-c", limited, "-", PROGRAM, *map(str, verb)], capture_output=True)
            self.assertEqual(done.returncode, 4, done.stderr)
            self.assertIn(b"memory", done.stderr)

    def test_colour_on_a_terminal_only_without_no_color(self):
        ask = [PROGRAM, "chat", "-m", DEMO, "--temp", "0", "-p", "What is 12 + 30?"]
        for setting, coloured in ("", True), ("1", False):
            pid, master = pty.fork()
            if pid == 0:
                os.environ.update(TERM="xterm", NO_COLOR=setting)
                os.execv(PROGRAM, ask)
            text = b""
            while b"t/s" not in text or not text.endswith(b"\n"):
                text += os.read(master, 4096)
            os.waitpid(pid, 0)
            os.close(master)
            self.assertIn(b"= 42.", text)
            self.assertEqual(b"\x1b[2m" in text, coloured, text)

    def test_no_colour_off_a_terminal(self):
        for code, out, err in (run("run", "-m", "nowhere"), run("devices")):
            self.assertNotIn("\x1b", out + err)


if __name__ == "__main__":
    unittest.main()
