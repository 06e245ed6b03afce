#!/usr/bin/env python3
"""The `runnel` program as a user sees it. Usage: cli_test.py PROGRAM [unittest arguments]"""
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
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
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
