#!/usr/bin/env python3
"""What quantising costs: perplexity and KL divergence of every weight type, as a Markdown table.

Usage: quality.py PROGRAM MODEL TEXT [--calibrate TEXT] [--chunks N] [-t THREADS] [TYPE...]

MODEL: a GGUF file in f32 or bf16; its logits with float products are the base. TEXT is scored in
chunks of 512 tokens, the second half of each. With --calibrate, each type is also made with an
importance matrix of another text.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

TYPES = ["q8_0", "q6_k", "q5_k_m", "q4_k_m", "iq4_nl", "iq4_xs", "q4_0", "q3_k_m", "q2_k"]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("types", nargs="*", default=TYPES)
    parser.add_argument("--calibrate")
    parser.add_argument("--chunks", default="120")
    parser.add_argument("-t", "--threads", default="0")
    given = parser.parse_args()

    def run(*words):
        done = subprocess.run([given.program, *map(str, words)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    with tempfile.TemporaryDirectory() as folder:
        base, made, matrix = (Path(folder) / name for name in ("base", "made.gguf", "im.gguf"))

        def score(model):
            return json.loads(run(
                "perplexity", "-m", model, "-f", given.text, "--chunks", given.chunks,
                "-t", given.threads, "--kl-base", base, "--json"))

        def bytes_per_weight(model):
            info = json.loads(run("inspect", model, "--json"))
            return info["tensor_bytes"] / info["n_parameters"]

        def row(kind, extra):
            run("quantize", given.model, made, kind, "-t", given.threads, *extra)
            return bytes_per_weight(made), score(made)

        print("| weights | bytes per weight | perplexity | KL mean | KL 99 % | same top token |"
              " KL mean, imatrix |\n|---|---|---|---|---|---|---|", flush=True)
        plain = score(given.model)
        print(f"| base | {bytes_per_weight(given.model):.3f} | {plain['perplexity']:.2f} | 0 | 0 | 100 % | |", flush=True)
        if given.calibrate:
            run("imatrix", "-m", given.model, "-f", given.calibrate, "-o", matrix,
                "-t", given.threads)
        for kind in given.types:
            size, got = row(kind, [])
            weighed = ""
            if given.calibrate:
                weighed = f"{row(kind, ['--imatrix', matrix])[1]['kl_mean']:.5f}"
            print(f"| {kind} | {size:.3f} | {got['perplexity']:.2f} | {got['kl_mean']:.5f} |"
                  f" {got['kl_p99']:.4f} | {100 * got['top1']:.2f} % | {weighed} |", flush=True)


if __name__ == "__main__":
    main()
