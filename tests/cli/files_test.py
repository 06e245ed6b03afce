#!/usr/bin/env python3
"""Files that verbs read and write."""
import json
import shutil
import unittest

from program import Case, DEMO, ROOT, TINY, run


class Files(Case):
    def test_convert_quantize_inspect(self):
        bf16, q8 = self.folder / "a.gguf", self.folder / "b.gguf"
        self.good("convert", TINY, "-o", bf16)
        report = json.loads(self.good("inspect", bf16, "--json", "--tensors")[0])
        self.assertEqual(report["metadata"]["general.architecture"], "lfm2")
        self.assertTrue(report["loads"])
        self.assertEqual(len(report["tensors"]), report["n_tensors"])
        self.good("quantize", bf16, q8, "q8_0")
        self.assertIn("q8_0", self.good("inspect", q8)[0])
        self.assertLess(q8.stat().st_size, bf16.stat().st_size)

    def test_importance_matrix(self):
        matrix, plain, weighted = (self.folder / name for name in ("im.gguf", "p.gguf", "w.gguf"))
        text = self.folder / "text.txt"
        text.write_text((ROOT / "README.md").read_text()[:4000])
        measure = ["imatrix", "-m", DEMO, "-f", text, "-o", matrix]
        self.assertIn("3 chunks of 64 tokens", self.good(*measure, "-c", 64, "--chunks", 3)[1])
        report = json.loads(self.good("inspect", matrix, "--json", "--tensors")[0])
        self.assertEqual(report["metadata"]["general.type"], "imatrix")
        names = {tensor["name"] for tensor in report["tensors"]}
        for weight in ("token_embd", "blk.0.shortconv.in_proj", "blk.0.ffn_down", "blk.0.ffn_up"):
            self.assertLessEqual({f"{weight}.weight.in_sum2", f"{weight}.weight.counts"}, names)
        self.good("quantize", DEMO, plain, "q4_0")
        err = self.good("quantize", DEMO, weighted, "q4_0", "--imatrix", matrix)[1]
        self.assertNotIn("does not know", err)
        self.assertNotEqual(plain.read_bytes()[-4096:], weighted.read_bytes()[-4096:])
        self.assertIn("im.gguf", self.good("inspect", weighted)[0])
        out = self.folder / "out.gguf"
        self.bad(3, "no importance matrix", "quantize", DEMO, out, "q4_0", "--imatrix", plain)
        self.bad(3, "less than one chunk", *measure, "-c", 4096)
        self.bad(2, "did you mean imatrix?", "imatix")
        self.bad(2, "did you mean --imatrix?", "quantize", DEMO, out, "q4_0", "--imatrx", matrix)
        self.assertFalse(out.exists())

    def test_calibration(self):
        model, out, text = (self.folder / name for name in ("m.gguf", "out.gguf", "text.txt"))
        text.write_text((ROOT / "README.md").read_text()[:6000])
        measure = ["calibrate", "-m", DEMO, "-f", text, "-c", 256]
        printed, err = self.good(*measure, "-o", out, "--json")
        self.assertIn("values are not folded", err)  # quantised weights
        report = json.loads(printed)
        self.assertEqual([row["kv"] for row in report["presets"]], ["kv8", "kv6", "kv4", "kv3", "kv2"])
        self.assertEqual([row["layer"] for row in report["layers"]], [2, 4, 6])
        for layer in report["layers"]:
            self.assertLess(layer["noise_balanced"], 1)
        damage = [row["kl_mean"] for row in report["presets"]]
        self.assertEqual(damage, sorted(damage))
        self.assertLess(damage[0], 0.002)
        metadata = json.loads(self.good("inspect", out, "--json")[0])["metadata"]
        self.assertAlmostEqual(metadata["runnel.kv.kl.kv4"], damage[2], places=6)
        self.assertFalse(metadata["runnel.kv.v_folded"])
        self.assertFalse(metadata["runnel.kv.balanced"])
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["out.gguf", "text.txt"])
        # In place; quantised weights stay as they are.
        shutil.copy(DEMO, model)
        self.assertIn("kv4", self.good("calibrate", "-m", model, "-f", text, "-c", 256)[0])
        greedy = ["--temp", "0", "-n", 8, "-p", "The capital of France"]
        self.assertEqual(self.good("run", "-m", model, *greedy)[0], self.good("run", "-m", DEMO, *greedy)[0])
        # Only what is asked for.
        self.good("calibrate", "-m", model, "-f", text, "-c", 256, "-o", out, "--balance")
        metadata = json.loads(self.good("inspect", out, "--json")[0])["metadata"]
        self.assertTrue(metadata["runnel.kv.balanced"])
        self.assertNotIn("runnel.kv.streaming", metadata)

    def test_streaming_heads_and_sparse_attention(self):
        out, text = self.folder / "out.gguf", self.folder / "text.txt"
        text.write_text((ROOT / "README.md").read_text()[:6000])
        printed = self.good("calibrate", "-m", DEMO, "-f", text, "-c", 256, "-o", out, "--find-streaming-heads",
                            "--json")[0]
        report = json.loads(printed)
        self.assertEqual([len(layer) for layer in report["induction"]], [2, 2, 2])
        for layer, mask in zip(report["induction"], report["streaming"]):
            best = max(layer)
            for head, score in enumerate(layer):
                self.assertTrue(0 <= score <= 1)
                self.assertEqual(bool(mask >> head & 1), score < 0.1 and score < best)
        greedy = ["--temp", "0", "-n", 8, "-p", "The capital of France", "--kv", "kv4"]
        self.good("run", "-m", out, *greedy, "--streaming-heads")
        self.bad(3, "--find-streaming-heads", "run", "-m", DEMO, *greedy, "--streaming-heads")
        sparse = ["--sparse-decode", "--sparse-prefill", "--sparse-from", 100, "--sparse-pages", 2]
        self.good("run", "-m", DEMO, *greedy, *sparse)
        self.bad(2, "quantised KV cache", "run", "-m", DEMO, *greedy[:-2], "--sparse-decode")
        self.bad(2, "sparse-pages", "run", "-m", DEMO, *greedy, "--sparse-pages", 2000)

    def test_calibration_refuses_what_it_cannot_use(self):
        out, text = self.folder / "out.gguf", self.folder / "text.txt"
        text.write_text("Too little text.")
        self.bad(3, "less than one chunk", "calibrate", "-m", DEMO, "-f", text, "-o", out)
        text.write_text((ROOT / "README.md").read_text()[:6000])
        self.bad(3, "too little text", "calibrate", "-m", DEMO, "-f", text, "-o", out, "-c", 256, "--chunks", 1)
        self.bad(3, "cannot read", "calibrate", "-m", DEMO, "-f", self.folder / "none", "-o", out)
        self.bad(3, "none.gguf", "calibrate", "-m", self.folder / "none.gguf", "-f", text, "-o", out)
        self.bad(2, "-c must", "calibrate", "-m", DEMO, "-f", text, "-o", out, "-c", 64)
        tiny = self.folder / "tiny.gguf"
        self.good("convert", TINY, "-o", tiny)
        self.bad(3, "tokenizer", "calibrate", "-m", tiny, "-f", text, "-o", out)
        self.assertFalse(out.exists())

    def test_failures_leave_nothing_behind(self):
        out = self.folder / "out.gguf"
        self.bad(3, "", "convert", self.folder, "-o", out)
        self.bad(2, "known: f32", "convert", TINY, "-o", out, "--type", "q9")
        self.bad(3, "", "convert", TINY, "-o", self.folder / "no" / "out.gguf")
        self.bad(2, "known: f32", "quantize", DEMO, out, "nonsense")
        self.bad(2, "not written", "quantize", DEMO, out, "nvfp4")
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
