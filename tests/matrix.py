#!/usr/bin/env python3
"""The support matrix of README.md: what the conformance program prints, between two markers.

Usage: matrix.py --check CONFORMANCE            fails when README.md shows another matrix
       matrix.py --write CONFORMANCE            puts the present one there
       matrix.py --write CONFORMANCE BACKend    the same for one backend, on a machine that has it
CONFORMANCE may be a file of what `conformance --backend BACKend --matrix` printed elsewhere.
"""
import os
import subprocess
import sys

README = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "README.md")


def main():
    backend = sys.argv[3:]
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("--check", "--write"):
        print(__doc__)
        return 2
    mark = " ".join(["matrix"] + backend)
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->\n"
    if os.access(sys.argv[2], os.X_OK):
        asked = ["--backend"] + backend if backend else []
        done = subprocess.run([sys.argv[2], "--matrix"] + asked, stdout=subprocess.PIPE, text=True)
        printed, failed = done.stdout, done.returncode != 0
    else:
        with open(sys.argv[2], encoding="utf-8") as file:
            printed, failed = file.read(), False
    if failed:
        print("matrix: the conformance program fails")
        return 1
    # The tables only: the closing line with its counts belongs to the terminal.
    lines = [line for line in printed.split("\n") if line.startswith("|") or not line]
    matrix = "\n".join(lines).strip() + "\n"
    if matrix.count("|") < 10:
        print("matrix: the conformance program printed no table")
        return 1
    with open(README, encoding="utf-8") as file:
        readme = file.read()
    if readme.count(begin) != 1 or readme.count(end) != 1:
        print("matrix: README.md has no pair of markers", begin, end)
        return 1
    before, rest = readme.split(begin)
    shown, after = rest.split(end)
    if shown == matrix:
        print("matrix: README.md is current")
        return 0
    if sys.argv[1] == "--check":
        print("matrix: README.md is not current; run ./dev matrix")
        return 1
    with open(README, "w", encoding="utf-8") as file:
        file.write(before + begin + matrix + end + after)
    print("matrix: README.md rewritten")
    return 0


if __name__ == "__main__":
    sys.exit(main())
