#!/usr/bin/env python3
"""Formatting and clang-tidy over all C++ files, with the tools of version 14.

Usage: lint.py format [--fix]
       lint.py tidy BUILD_DIR     results are kept in BUILD_DIR/tidy by hash of all they depend on
Exit code 77 when the tool is not there: the test counts as skipped.
"""
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ["quant", "runtime", "backends", "converters", "apps", "tests"]
SKIPPED = 77


def find_tool(name):
    """The tool's version 14, or an exit with code 77."""
    for candidate in (name + "-14", name):
        path = shutil.which(candidate)
        if path and re.search(r"version 14\.", subprocess.run(
                [path, "--version"], capture_output=True, text=True).stdout):
            return path
    print(f"lint: skipped, no {name} 14 on this machine")
    sys.exit(SKIPPED)


def sources():
    for folder in FOLDERS:
        for where, _, files in os.walk(os.path.join(ROOT, folder)):
            yield from (os.path.join(where, f) for f in sorted(files)
                        if f.endswith((".h", ".cc", ".c")))


def run_format(fix):
    tool = find_tool("clang-format")
    mode = ["-i"] if fix else ["--dry-run", "--Werror", "--ferror-limit=3"]
    return subprocess.run([tool, "--style=file", *mode, *sources()], cwd=ROOT).returncode


def read(path):
    with open(path, "rb") as file:
        return file.read()


def add_with_headers(path, seen):
    """Puts `path` and all headers of ours that it includes into `seen`: path -> content."""
    if path in seen or not os.path.exists(path):
        return
    seen[path] = read(path)
    for name in re.findall(rb'^\s*#\s*include\s*"([^"]+)"', seen[path], re.M):
        add_with_headers(os.path.join(ROOT, name.decode()), seen)


def key_of(tool, entry):
    seen = {}
    add_with_headers(os.path.join(entry["directory"], entry["file"]), seen)
    settings = [read(os.path.join(ROOT, d, ".clang-tidy")) for d in ("", "apps")]
    parts = [tool.encode(), entry["command"].encode(), *settings]
    parts += [part for item in sorted(seen.items()) for part in (item[0].encode(), item[1])]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def works(tool):
    """Whether the tool can read this machine's standard library (it may be too new for it)."""
    with tempfile.NamedTemporaryFile(suffix=".cc", mode="w") as probe:
        probe.write("#include <array>\n#include <chrono>\n#include <functional>\n#include <span>\n"
                    "#include <string>\n#include <thread>\n#include <variant>\n#include <vector>\n")
        probe.flush()
        return subprocess.run([tool, "--checks=-*,misc-unused-using-decls", probe.name, "--",
                               "-std=c++20"], capture_output=True).returncode == 0


def tidy_one(tool, build, entry):
    """The complaints about one file; the empty text when there are none."""
    stamp = os.path.join(build, "tidy", key_of(tool, entry))
    if os.path.exists(stamp):
        return ""
    result = subprocess.run(
        [tool, "--quiet", "-p", build, "--extra-arg=-Wno-unknown-warning-option", entry["file"]],
        capture_output=True, text=True, cwd=ROOT)
    if result.returncode == 0:
        open(stamp, "w").close()
        return ""
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    return result.stdout or "\n".join([entry["file"]] + errors)


def run_tidy(build):
    tool = find_tool("clang-tidy")
    if not works(tool):
        print("lint: skipped, clang-tidy 14 cannot read this machine's standard library")
        return SKIPPED
    build = os.path.abspath(build)
    os.makedirs(os.path.join(build, "tidy"), exist_ok=True)
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = {e["file"]: e for e in json.load(file)}  # one entry per file
    entries = [e for f, e in sorted(entries.items())
               if f.startswith(tuple(os.path.join(ROOT, d) + "/" for d in FOLDERS[:-1]))]
    n_bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for output in pool.map(lambda e: tidy_one(tool, build, e), entries):
            n_bad += bool(output)
            if output:
                print(output, flush=True)
    print(f"lint: tidy {len(entries)} files, {n_bad} with complaints")
    return 1 if n_bad or not entries else 0


def main():
    if sys.argv[1:2] == ["format"]:
        return run_format(sys.argv[2:] == ["--fix"])
    if sys.argv[1:2] == ["tidy"] and len(sys.argv) == 3:
        return run_tidy(sys.argv[2])
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main())
