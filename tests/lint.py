#!/usr/bin/env python3
"""Formatting and clang-tidy over all C++ files, with the tools of version 14.

Usage: lint.py format [--fix]
       lint.py tidy BUILD_DIR [SECONDS]     starts nothing new after SECONDS; results are kept in
                                            BUILD_DIR/tidy by hash of all they depend on
Exit code 77 when the tool is not there: the test counts as skipped.
"""
import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ["quant", "runtime", "backends", "converters", "apps", "tests"]
SKIPPED = 77
GROUP_FILES = 24  # files read as one; more would leave too few groups for the cores


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


def stamp_of(tool, build, entry):
    """The file that exists once this file was found clean with all it depends on as it is now."""
    return os.path.join(build, "tidy", key_of(tool, entry))


def tidy(tool, file, *arguments):
    """The complaints about one file; the empty text when there are none."""
    result = subprocess.run(
        [tool, "--quiet", "--extra-arg=-Wno-unknown-warning-option", file, *arguments],
        capture_output=True, text=True, cwd=ROOT)
    if result.returncode == 0:
        return ""
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    return result.stdout or "\n".join([file] + errors)


def tidy_joint(tool, build, entries):
    """The complaints about the given files read as one."""
    with tempfile.TemporaryDirectory(dir=os.path.join(build, "tidy")) as folder:
        # The settings are looked up from where the file lies.
        shutil.copy(os.path.join(ROOT, ".clang-tidy"), folder)
        inner = os.path.join(folder, "joint")
        os.mkdir(inner)
        if config_of(entries[0]) != os.path.join(ROOT, ".clang-tidy"):
            shutil.copy(config_of(entries[0]), inner)
        joint = os.path.join(inner, "joint.cc")
        with open(joint, "w", encoding="utf-8") as file:
            file.writelines(f'#include "{e["file"]}"\n' for e in entries)
        return tidy(tool, joint, "--checks=-bugprone-suspicious-include", "--",
                    *flags_of(entries[0]))


def tidy_group(tool, build, entries):
    """The complaints about some files that share their flags. They are read as one file first, since
    most of the time goes into the headers; what is not clean then is read by itself."""
    joint = tidy_joint(tool, build, entries) if len(entries) > 1 else ""
    outputs = []
    for entry in entries:
        alone = len(entries) == 1 or "clang-diagnostic-error" in joint or entry["file"] in joint
        output = tidy(tool, entry["file"], "-p", build) if alone else ""
        if not output:
            open(stamp_of(tool, build, entry), "w").close()
        outputs.append(output)
    if joint and not any(e["file"] in joint for e in entries):
        outputs.append(joint)  # about a header
    return "\n".join(filter(None, outputs))


def flags_of(entry):
    """What the compiler is given for this file, less the program, the input and the output."""
    words, flags = shlex.split(entry["command"]), []
    skip = False
    for word in words[words.index(next(w for w in words if w.startswith("-"))):]:
        if not skip and word not in ("-o", "-c"):
            flags.append(word)
        skip = word in ("-o", "-c")
    return flags


def config_of(entry):
    folder = os.path.dirname(entry["file"])
    while not os.path.exists(os.path.join(folder, ".clang-tidy")):
        folder = os.path.dirname(folder)
    return os.path.join(folder, ".clang-tidy")


def local_names(path):
    """Names that the file defines for itself: what would clash in one translation unit."""
    text = read(path).decode()
    names = set(re.findall(r"^#define (\w+)", text, re.M))
    for region in re.findall(r"^namespace \{\n(.*?)^\}  // namespace$", text, re.M | re.S):
        for line in re.findall(r"^\w.*", region, re.M):
            head = re.split(r"[({=;\[]| : ", line.replace("operator()", ""))[0]
            names.update(re.findall(r"\w+", head)[-1:])
    return names


def groups_of(entries):
    """Splits files into groups of equal flags and settings in which no local name comes twice."""
    groups = []  # [flags and settings, names, entries]
    for entry in entries:
        kind, names = (flags_of(entry), config_of(entry)), local_names(entry["file"])
        for group in groups:
            if group[0] == kind and len(group[2]) < GROUP_FILES and not group[1] & names:
                group[1].update(names)
                group[2].append(entry)
                break
        else:
            groups.append([kind, names, [entry]])
    return [group[2] for group in groups]


def run_tidy(build, seconds):
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
    groups = groups_of([e for e in entries if not os.path.exists(stamp_of(tool, build, e))])
    groups.sort(key=len, reverse=True)
    deadline = time.monotonic() + seconds
    late = []

    def check(group):
        if time.monotonic() < deadline:
            return tidy_group(tool, build, group)
        late.extend(group)
        return ""

    n_bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for output in pool.map(check, groups):
            n_bad += bool(output)
            if output:
                print(output, flush=True)
    print(f"lint: tidy {len(entries)} files, {n_bad} groups with complaints")
    if late:
        print(f"lint: {len(late)} files left for the next run: the time was up")
    return 1 if n_bad or not entries else 0


def main():
    if sys.argv[1:2] == ["format"]:
        return run_format(sys.argv[2:] == ["--fix"])
    if sys.argv[1:2] == ["tidy"] and len(sys.argv) in (3, 4):
        return run_tidy(sys.argv[2], float(sys.argv[3]) if len(sys.argv) == 4 else float("inf"))
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main())
