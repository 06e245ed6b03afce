#!/usr/bin/env python3
"""The program on a Vulkan device: a kernel broken on purpose is passed over and changes no text, a second start
says the same, and a part of the layers on the device works. What the text is: demo_text_test.cc.

Usage: vulkan_text.py RUNNEL [N_TOKENS]     exit code 77: no Vulkan device
"""
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROMPT = "The capital of France is"
BROKEN = "matvec row"


def answer(runnel, n_tokens, *flags, **environment):
    command = [runnel, "run", "-m", os.path.join(ROOT, "models", "demo-30m-iq4_xs.gguf"), "--backend", "vulkan",
               "--temp", "0", "-n", str(n_tokens), "-p", PROMPT, *flags]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    return done.stdout, done.stderr, done.returncode


def main():
    runnel = sys.argv[1]
    n_tokens = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    devices = subprocess.run([runnel, "devices"], capture_output=True, text=True).stdout
    mine = [line for line in devices.split("\n") if line.startswith("vulkan") and " available" in line]
    # A software driver takes minutes to compile the kernels: only when it is asked for.
    if not mine or ("software" in mine[0] and "RUNNEL_VULKAN_DEVICE" not in os.environ):
        return 77
    wrong = []
    with tempfile.TemporaryDirectory() as cache:
        expected, errors, code = answer(runnel, n_tokens, RUNNEL_VULKAN_CACHE=cache)
        if code != 0 or not expected.strip():
            wrong.append(f"first start: {expected!r} {errors}")
        files = sorted(os.listdir(cache))
        before = {name: os.stat(os.path.join(cache, name)).st_mtime_ns for name in files}
        got, errors, code = answer(runnel, n_tokens, RUNNEL_VULKAN_CACHE=cache)
        after = {name: os.stat(os.path.join(cache, name)).st_mtime_ns for name in sorted(os.listdir(cache))}
        if code != 0 or got != expected or before != after or not files:
            wrong.append(f"second start: {got!r}, files {before} then {after} {errors}")
    got, errors, code = answer(runnel, n_tokens, RUNNEL_VULKAN_BREAK=BROKEN)
    if code != 0 or got != expected or f'kernel="{BROKEN} ' not in errors or "quarantined" not in errors:
        wrong.append(f"a broken kernel: {got!r} {errors}")
    got, errors, code = answer(runnel, n_tokens, "--gpu-layers", "2")
    if code != 0 or not got.strip():
        wrong.append(f"two layers on the device: {got!r} {errors}")
    print("\n".join(wrong) or "nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
