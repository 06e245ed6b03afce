#!/usr/bin/env python3
"""A conversation, from a pipe and in a terminal."""
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import time
import unittest

from program import Case, DEMO, PROGRAM, run


class Chat(Case):
    def test_pipe(self):
        out, err = self.good("chat", "-m", DEMO, "--temp", 0, stdin="What is 12 + 30?\n")
        self.assertEqual(out, "12 + 30 = 42.\n")
        self.assertIn("t/s", err)

    def test_the_bundled_model_is_the_default(self):
        bin_folder, share = self.folder / "bin", self.folder / "share" / "runnel"
        bin_folder.mkdir()
        share.mkdir(parents=True)
        program = shutil.copy(PROGRAM, bin_folder)
        ask = [program, "chat", "--temp", "0", "-p", "What is 12 + 30?"]
        missing = subprocess.run(ask, capture_output=True)
        self.assertEqual((missing.returncode, b"-m FILE" in missing.stderr), (2, True))
        shutil.copy(DEMO, share)
        self.assertEqual(subprocess.run(ask, capture_output=True).stdout, b"12 + 30 = 42.\n")

    def test_a_follow_up_reuses_the_cache(self):
        _, err = self.good("chat", "-m", DEMO, "--temp", 0, stdin="What is 12 + 30?\nWhat is 1 + 1?\n")
        reused = [int(part.split()[0]) for part in err.split("tokens, ")[1:] if "reused" in part.split("|")[0]]
        self.assertEqual(reused[0], 0)
        self.assertGreater(reused[1], 20)

    def test_commands(self):
        saved = self.folder / "chat.json"
        script = ("/set temp 0\nWhat is 12 + 30?\n/regen\n/edit What is 1 + 1?\n"
                  f"/save {saved}\n/clear\n/load {saved}\n/stats\n/nonsense\n/exit\nnot reached\n")
        out, err = self.good("chat", "-m", DEMO, stdin=script)
        lines = out.splitlines()
        self.assertEqual(lines[:2], ["12 + 30 = 42."] * 2)
        self.assertEqual(len(lines), 3)
        self.assertIn("unknown command /nonsense", err)
        self.assertIn("loaded 2 messages", err)
        messages = json.loads(saved.read_text())["messages"]
        self.assertEqual([m["role"] for m in messages], ["user", "assistant"])
        self.assertEqual(messages[0]["content"], "What is 1 + 1?")
        saved.write_text('{"format": "runnel-chat", "version": 1, "messages": [{"role": 3}]}')
        _, err = self.good("chat", "-m", DEMO, stdin=f"/load {saved}\n/load /\n/save /nowhere/x\n")
        self.assertEqual(err.count("without role"), 1)
        self.assertIn("/nowhere/x", err)

    def test_saved_sessions(self):
        saved, text = self.folder / "talk.session", self.folder / "talk.json"
        talk = f"What is 12 + 30?\n/save {saved}\n/save {text}\nWhat is 1 + 1?\n"
        out, _ = self.good("chat", "-m", DEMO, "--temp", 0, stdin=talk)
        for file, computed in ((saved, False), (text, True)):
            again, err = self.good("chat", "-m", DEMO, "--temp", 0, stdin=f"/load {file}\nWhat is 1 + 1?\n")
            self.assertEqual(again.splitlines(), out.splitlines()[1:])
            self.assertIn("loaded 2 messages", err)
            self.assertEqual(", 0 reused" in err, computed, err)
        saved.write_bytes(saved.read_bytes()[:-1])
        out, err = self.good("chat", "-m", DEMO, "--temp", 0, stdin=f"/load {saved}\nWhat is 12 + 30?\n")
        self.assertEqual(out, "12 + 30 = 42.\n")
        self.assertIn(str(saved), err)

    def test_a_full_context_may_shift(self):
        ask = ["chat", "-m", DEMO, "--temp", 0, "-c", 320, "-n", 60]
        talk = "Tell me something about the sea.\n" * 40
        self.assertIn("do not fit a context of 320", run(*ask, stdin=talk)[2])
        out, err = self.good(*ask, "--context-full", "shift", stdin=talk)
        self.assertIn("context full: dropped=128 ", err)
        self.assertRegex(err, r"no longer sees (128|256|384|512) of the conversation's \d+ tokens")
        self.bad(2, "too small", *ask, "--context-full", "shift", "--keep", 100, stdin="x\n")

    def test_commands_without_their_argument_change_nothing(self):
        saved = self.folder / "chat.json"
        script = (f"/system Be brief.\nWhat is 12 + 30?\n/edit \n/set temp \n/set \n/save \n/load \n"
                  f"/save {saved} \n/system \n/save {self.folder / 'bare.json'}\n/clear\n/regen\n/edit x\n")
        out, err = self.good("chat", "-m", DEMO, "--temp", 0, stdin=script)
        self.assertEqual(len(out.splitlines()), 1)
        self.assertIn("which was: What is 12 + 30?", err)
        self.assertEqual(err.count("usage: /set"), 2)
        self.assertIn("usage: /save", err)
        self.assertIn("usage: /load", err)
        self.assertIn("no reply to make again", err)
        self.assertIn("no message to edit", err)
        roles = [[m["role"] for m in json.loads(file.read_text())["messages"]]
                 for file in (saved, self.folder / "bare.json")]
        self.assertEqual(roles, [["system", "user", "assistant"], ["user", "assistant"]])

    def test_lines_that_go_on(self):
        out, _ = self.good("chat", "-m", DEMO, "--temp", 0, stdin='"""What is\n12 + 30?"""\nWhat is \\\n1 + 1?\n')
        self.assertEqual(len(out.splitlines()), 2)

    def terminal(self):
        pid, master = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm", LC_ALL="C.UTF-8", XDG_STATE_HOME=str(self.folder))
            os.execv(PROGRAM, [PROGRAM, "chat", "-m", DEMO, "--temp", "0"])
        self.addCleanup(os.close, master)
        self.unread = b""
        return pid, master

    def read_until(self, master, text, seconds=120):
        """Reads on until `text` has come; what follows it stays for the next call."""
        end = time.monotonic() + seconds
        while text.encode() not in self.unread:
            if time.monotonic() > end or not select.select([master], [], [], 30)[0]:
                self.fail(f"no {text!r} in {self.unread!r}")
            try:
                piece = os.read(master, 4096)
            except OSError:
                piece = b""
            if not piece:
                self.fail(f"ended without {text!r}: {self.unread!r}")
            self.unread += piece
        self.unread = self.unread.split(text.encode(), 1)[1]

    def leave(self, pid, master):
        """Types Ctrl-D until the program ends; a key typed between two prompts may be dropped."""
        for _ in range(100):
            os.write(master, b"\x15\x04")  # Ctrl-U first: the line may hold a stray key
            time.sleep(0.1)
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.fail("Ctrl-D did not end the chat")

    def test_terminal(self):
        pid, master = self.terminal()
        self.read_until(master, "> ")
        os.write(master, b"half a line")
        self.read_until(master, "a line")
        os.write(master, b"\x03")  # Ctrl-C drops the line, never the program
        self.read_until(master, "> ")
        os.write(master, "What is 12 + 30?\n".encode())
        self.read_until(master, "= 42.")
        self.read_until(master, "> ")
        os.write(master, b"/set temp 1.5\n")
        self.read_until(master, "temp = 1.5")
        os.write(master, b"/set max-tokens 100000\n")
        self.read_until(master, "max-tokens = 100000")
        os.write(master, b"Tell me a very long story about the ocean.\n")
        self.read_until(master, "ocean.")
        time.sleep(0.05)
        os.kill(pid, signal.SIGINT)  # stops the reply at most, never the program
        self.read_until(master, "t/s")
        self.read_until(master, "> ")
        self.assertEqual(self.leave(pid, master), 0)
        history = (self.folder / "runnel" / "chat_history").read_text()
        self.assertIn("ocean", history)


if __name__ == "__main__":
    unittest.main()
