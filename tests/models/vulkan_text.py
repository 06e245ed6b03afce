#!/usr/bin/env python3
"""The demo model says the same on Vulkan as on the reference backend, and with a kernel broken on purpose.
The CPU backend rounds activations to 8 bits, which Vulkan does not: its text may part from both at near ties.

Usage: vulkan_text.py RUNNEL [N_PROMPTS] [N_TOKENS]     exit code 77: no Vulkan device
"""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROMPTS = ["The capital of France is", "Once upon a time", "Write a short poem.", "What is rain?",
           "Name three fruits.", "How do birds fly?", "Tell me about the sea.", "Why is the sky blue?",
           "What is a computer?", "Describe a cat.", "Who was Napoleon?", "What is music?",
           "How is bread made?", "What is the Sun?", "Explain gravity.", "List two colours.",
           "What do bees do?", "What is a river?", "How old is the Earth?", "What is friendship?"]
BROKEN = "matvec row"


def answer(runnel, backend, prompt, n_tokens, **environment):
    command = [runnel, "run", "-m", os.path.join(ROOT, "models", "demo-30m-iq4_xs.gguf"), "--backend",
               backend, "--temp", "0", "-n", str(n_tokens), "-p", prompt]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    return done.stdout, done.stderr, done.returncode


def main():
    runnel = sys.argv[1]
    prompts = PROMPTS[:int(sys.argv[2]) if len(sys.argv) > 2 else len(PROMPTS)]
    n_tokens = int(sys.argv[3]) if len(sys.argv) > 3 else 64
    devices = subprocess.run([runnel, "devices"], capture_output=True, text=True).stdout
    mine = [line for line in devices.split("\n") if line.startswith("vulkan") and " available" in line]
    # A software driver takes minutes to compile the kernels: only when it is asked for.
    if not mine or ("software" in mine[0] and "RUNNEL_VULKAN_DEVICE" not in os.environ):
        return 77
    different = 0
    for prompt in prompts:
        expected, _, _ = answer(runnel, "reference", prompt, n_tokens)
        got, errors, code = answer(runnel, "vulkan", prompt, n_tokens)
        if got != expected or code != 0:
            different += 1
            print(f"{prompt!r}: reference {expected!r}, vulkan {got!r} {errors}")
    expected, _, _ = answer(runnel, "vulkan", prompts[0], n_tokens)
    got, errors, code = answer(runnel, "vulkan", prompts[0], n_tokens, RUNNEL_VULKAN_BREAK=BROKEN)
    quarantined = f'kernel="{BROKEN} ' in errors and "quarantined" in errors
    if code != 0 or not quarantined or got != expected:
        different += 1
        print(f"a broken kernel: quarantined {quarantined}, {got!r} {errors}")
    print(f"{len(prompts)} prompts, {different} differences")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
