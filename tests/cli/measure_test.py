#!/usr/bin/env python3
"""bench, perplexity and what else measures a model."""
import json
import struct
import unittest

from program import Case, DEMO, ROOT


class Measure(Case):
    def test_logits_writes_npy(self):
        path = self.folder / "out.npy"
        self.good("logits", "-m", DEMO, "--ids", "1,574,3", "-o", path)
        data = path.read_bytes()
        self.assertEqual(data[:8], b"\x93NUMPY\x01\x00")
        header = data[10:10 + struct.unpack("<H", data[8:10])[0]].decode()
        self.assertIn("(3, 8192)", header)
        self.assertEqual(len(data), 10 + len(header) + 3 * 8192 * 4)
        self.assertEqual((10 + len(header)) % 64, 0)
        for ids, text in ("1,9999", "9999"), ("", "--ids"), ("1,x", "--ids"):
            self.bad(2, text, "logits", "-m", DEMO, "--ids", ids, "-o", self.folder / "bad.npy")
        self.assertEqual([p.name for p in self.folder.iterdir()], ["out.npy"])

    def test_perplexity_and_divergence(self):
        text = self.folder / "text"
        text.write_text((ROOT / "README.md").read_text()[:6000])
        measure = ["perplexity", "-m", DEMO, "-f", text, "-c", 128, "--chunks", 2, "--json"]
        plain = json.loads(self.good(*measure)[0])
        self.assertEqual((plain["chunks"], plain["tokens"]), (2, 126))
        self.assertTrue(1 < plain["perplexity"] < 8192)
        base = self.folder / "base"
        self.assertNotIn("kl_mean", json.loads(self.good(*measure, "--kl-base", base)[0]))
        same = json.loads(self.good(*measure, "--kl-base", base)[0])
        self.assertLess(same["kl_mean"], 1e-3)
        self.assertGreater(same["top1"], 0.98)
        self.bad(3, "no logits of this text", *measure[:-3], "--chunks", 1, "--json", "--kl-base", base)

    def test_bench(self):
        short = ["bench", "-m", DEMO, "-p", 16, "-n", 4, "-r", 2]
        rows = json.loads(self.good(*short, "-t", "1,2", "-d", "0,8", "--json")[0])["rows"]
        self.assertEqual([(r["threads"], r["depth"]) for r in rows], [(1, 0), (1, 8), (2, 0), (2, 8)])
        for row in rows:
            self.assertEqual(row["type"], "iq4_xs")
            self.assertEqual(row["ceilings"]["samples"], 3)
            for part, share in ("prefill", "fraction_of_peak"), ("decode", "fraction_of_bandwidth"):
                self.assertEqual(len(row[part]["seconds"]), 2)
                self.assertGreater(row[part]["tokens_per_second"], 0)
                self.assertGreaterEqual(row[part]["spread"], 0)
                self.assertGreater(row[part][share], 0)
            self.assertGreater(row["first_token_seconds"], 0)
            if row["peak_resident_bytes"] is not None:  # and without the memory of the ceilings
                self.assertLess(row["peak_resident_bytes"], 400 << 20)
            self.assertNotIn("profile", row)
        grown = [r["decode"]["kv_bytes_per_token"] for r in rows[:2]]
        self.assertEqual(grown[1] - grown[0], 8 * 3 * 2 * 2 * 64 * 2)
        self.bad(2, "either", "bench", "-m", DEMO, "--shape", "lfm2-350m")
        self.bad(2, "lfm2-350m", "bench", "--shape", "lfm2-9b")
        self.bad(2, "threads", "bench", "-m", DEMO, "-t", "1,x")

    def test_bench_table(self):
        out, _ = self.good("bench", "--shape", "lfm2-350m", "--type", "q4_0,q4_k_m", "-p", 2, "-n", 1, "-r", 1)
        lines = out.splitlines()
        self.assertIn("lfm2-350m", lines[0])
        self.assertEqual([line.split()[0] for line in lines[3:5]], ["q4_0", "q4_k_m"])
        self.assertRegex(out, r"ceilings, \d+ threads?: reads [\d.]+ GB/s, int8 [\d.]+, bf16 (none|[\d.]+), f32")
        plain, _ = self.good("bench", "-m", DEMO, "--backend", "reference", "-p", 2, "-n", 0, "-r", 1)
        self.assertNotIn("ceilings", plain)

    def test_bench_profile(self):
        short = ["bench", "-m", DEMO, "-p", 16, "-n", 4, "-r", 1, "--profile"]
        profile = json.loads(self.good(*short, "--json")[0])["rows"][0]["profile"]
        self.assertEqual((profile["prefill"]["steps"], profile["prefill"]["tokens"]), (1, 16))
        self.assertEqual((profile["decode"]["steps"], profile["decode"]["tokens"]), (4, 4))
        for part in profile.values():
            ops = {(op["op"], op["weights"]): op for op in part["ops"]}
            self.assertIn(("attention", ""), ops)
            products = [op for (name, weights), op in ops.items() if name.startswith("matmul")]
            self.assertTrue(products)
            for op in products:
                self.assertGreater(op["operations"], 0)
                self.assertGreater(op["bytes"], 0)
            self.assertLessEqual(sum(op["seconds"] for op in part["ops"]), part["seconds"])
        out, _ = self.good(*short)
        self.assertIn("decode step", out)
        self.assertRegex(out, r"\n  attention +\d")

    def test_devices(self):
        names = [row["name"] for row in json.loads(self.good("devices", "--json")[0])]
        self.assertIn("cpu", names)
        self.assertEqual(names[-1], "reference")

    def test_check(self):
        out, err = self.good("check", "--backend", "cpu", "--filter", "matmul", "--every", "40")
        self.assertRegex(out, r"^[1-9]\d* passed, 0 failed")
        self.assertEqual(err, "")
        self.bad(2, "no backend is called gpu", "check", "--backend", "gpu")
        self.bad(2, "no case has frobnicate", "check", "--filter", "frobnicate")


if __name__ == "__main__":
    unittest.main()
