#!/usr/bin/env python3
"""Proof on the demo model in bf16: reference logits, greedy texts, needles, perplexity.

Usage: demo_proof.py PROGRAM [CHECKPOINT_DIR [TEXT]] [--kv NAME,NAME..]
CHECKPOINT_DIR is the Hugging Face folder of demo-30m (60 MB, not in the repository), else
$RUNNEL_DEMO_CHECKPOINT; without either the test is skipped (exit 77). TEXT is the WikiText-2 test split;
perplexity is measured only when it is given. --kv: only the needles, with these KV caches. The reference is transformers in float32.
"""
import array
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent / "demo"


def run(*arguments):
    done = subprocess.run(list(map(str, arguments)), capture_output=True)
    if done.returncode != 0:
        sys.exit(f"{arguments}: {done.stderr.decode()}")
    return done.stdout.decode()


def read_npy(path):
    data = Path(path).read_bytes()
    values = array.array("f", data[10 + int.from_bytes(data[8:10], "little"):])
    return values


def worst_error(values, golden):
    """Largest difference in standard deviations of the golden values."""
    mean = sum(golden) / len(golden)
    deviation = math.sqrt(sum((g - mean) ** 2 for g in golden) / len(golden))
    return max(abs(v - g) for v, g in zip(values, golden)) / deviation


def needles_found(program, model, kv):
    """How many of the needles in models/demo/needles.json the model answers with this KV cache."""
    found = 0
    for needle in json.loads((GOLDEN / "needles.json").read_text()):
        text = json.loads(run(program, "run", "-m", model, "--temp", "0", "--repeat-penalty", "1", "-c", "10000",
                              "-n", "48", "--json", "--kv", kv, "-p", needle["prompt"]))["text"]
        found += str(needle["answer"]) in text
    return found


def main():
    kvs = []
    if "--kv" in sys.argv:
        at = sys.argv.index("--kv")
        kvs = sys.argv[at + 1].split(",")
        del sys.argv[at:at + 2]
    program = sys.argv[1]
    checkpoint = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("RUNNEL_DEMO_CHECKPOINT")
    if not checkpoint:
        print("skipped: no checkpoint of demo-30m given")
        return 77
    cases = json.loads((GOLDEN / "cases.json").read_text())
    failures = []

    def check(name, good, value):
        print(f"{'ok  ' if good else 'FAIL'} {name}: {value}", flush=True)
        if not good:
            failures.append(name)

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "demo-bf16.gguf"
        run(program, "convert", checkpoint, "-o", model, "--type", "bf16")
        if kvs:
            found = {kv: needles_found(program, model, kv) for kv in ("f16", *kvs)}
            for kv in kvs:
                missed = 2 if kv == "kv3" else 0
                if kv != "kv2":  # answers fewer, and says nothing about the code
                    check(f"needles with {kv}", found[kv] >= found["f16"] - missed, f"{found[kv]}, f16 {found['f16']}")
                else:
                    print(f"     needles with {kv}: {found[kv]}, f16 {found['f16']}", flush=True)
            return 1 if failures else 0
        for backend in ("reference", "cpu"):
            for case in cases["logits"]:
                out = Path(folder) / "out.npy"
                run(program, "logits", "-m", model, "--kv", "f32", "--backend", backend,
                    "--ids", ",".join(map(str, case["ids"])), "-o", out)
                golden = read_npy(GOLDEN / case["file"])
                error = worst_error(read_npy(out)[-len(golden):], golden)
                check(f"logits of {len(case['ids'])} tokens on {backend}", error < 0.02, f"{error:.2e}")
        for case in cases["greedy"]:
            text = json.loads(run(program, "run", "-m", model, "--kv", "f32", "--temp", "0", "--repeat-penalty", "1",
                                  "--special", "--json", "-p", case["prompt"]))["text"]
            check(f"greedy {case['prompt']!r}", text == case["text"], text[:60])
        found = needles_found(program, model, "f16")
        check("needles", found >= 36, found)
        if len(sys.argv) > 3:
            for context, expected in cases["perplexity"].items():
                if not context.isdigit():
                    continue
                report = json.loads(run(program, "perplexity", "-m", model, "--kv", "f32", "-c", context,
                                        "-f", sys.argv[3], "--json"))
                error = report["perplexity"] / expected - 1
                check(f"perplexity at {context}", abs(error) < 0.003, f"{report['perplexity']:.4f} ({error:+.4%})")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
