#!/usr/bin/env python3
"""Text from a prompt."""
import json
import unittest

from program import Case, DEMO, run


class Text(Case):
    def test_tokenize(self):
        out, _ = self.good("tokenize", "-m", DEMO, "-p", "Hello world")
        self.assertEqual(out.split(), ["4607", "1186"])
        out, _ = self.good("tokenize", "-m", DEMO, "-f", "-", "--bos", "--special", stdin="<|im_start|>Hello world")
        self.assertEqual(out.split(), ["1", "6", "4607", "1186"])
        out, _ = self.good("tokenize", "-m", DEMO, "-p", "<|im_start|>é", "--json")
        self.assertEqual(len(json.loads(out)["ids"]), len(json.loads(out)["pieces"]))
        self.assertNotIn(6, json.loads(out)["ids"])

    def test_run(self):
        out, err = self.good("run", "-m", DEMO, "-p", "What is 12 + 30?", "--temp", 0)
        self.assertEqual((out, err), ("12 + 30 = 42.\n", ""))
        out, _ = self.good("run", "-m", DEMO, "--temp", 0, "--json", stdin="What is 12 + 30?")
        answer = json.loads(out)
        self.assertEqual((answer["text"], answer["stop"]), ("12 + 30 = 42.", "eog"))
        out, _ = self.good("run", "-m", DEMO, "-p", "Hello!", "--temp", 0, "-n", 2, "--json")
        self.assertEqual((json.loads(out)["tokens"], json.loads(out)["stop"]), (2, "limit"))
        out, _ = self.good("run", "-m", DEMO, "-p", "What is 12 + 30?", "--temp", 0, "--stop", " =")
        self.assertEqual(out, "12 + 30\n")
        out, _ = self.good("run", "-m", DEMO, "--raw", "-p", "The cell", "-n", 8, "--temp", 0)
        self.assertGreater(len(out), 8)

    def test_a_prompt_cache_is_used(self):
        cache = self.folder / "cache"
        ask = ["run", "-m", DEMO, "-p", "What is 12 + 30?", "--temp", 0, "--json", "--prompt-cache", cache]
        first, again = (json.loads(self.good(*ask)[0]) for _ in range(2))
        self.assertEqual(first["text"], "12 + 30 = 42.")
        self.assertEqual(first["reused_tokens"], 0)
        self.assertEqual(again["text"], first["text"])
        self.assertEqual(again["reused_tokens"], again["prompt_tokens"])
        before = cache.read_bytes()
        self.assertEqual(json.loads(self.good(*ask, "--backend", "reference")[0])["text"], first["text"])
        self.assertEqual(cache.read_bytes(), before)
        longer = json.loads(self.good(*ask, "--raw", "-n", 4)[0])
        self.assertLess(longer["reused_tokens"], 2)  # BOS
        self.assertNotEqual(cache.read_bytes(), before)
        cache.write_bytes(before[:100] + b"x" + before[101:])
        self.bad(3, str(cache), *ask)
        cache.write_bytes(before)
        self.bad(2, "KV cache type", *ask, "--kv", "f32")

    def test_a_seed_makes_it_repeatable(self):
        ask = ["run", "-m", DEMO, "-p", "Tell me something.", "--temp", 1.2, "-n", 24]
        first, again, other = (self.good(*ask, "-s", seed)[0] for seed in (7, 7, 8))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_backends_agree(self):
        ask = ["run", "-m", DEMO, "-p", "What is 2 + 3?", "--temp", 0, "-n", 12]
        self.assertEqual(self.good(*ask, "--backend", "cpu")[0], self.good(*ask, "--backend", "reference")[0])


if __name__ == "__main__":
    unittest.main()
