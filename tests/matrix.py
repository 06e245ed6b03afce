#!/usr/bin/env python3
"""The support matrix of README.md: what the conformance program prints, between two markers.

Usage: matrix.py --check CONFORMANCE     fails when README.md shows another matrix
       matrix.py --write CONFORMANCE     puts the present one there
"""
import os
import subprocess
import sys

README = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "README.md")
BEGIN, END = "<!-- matrix -->\n", "<!-- /matrix -->\n"


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("--check", "--write"):
        print(__doc__)
        return 2
    conformance = subprocess.run([sys.argv[2], "--matrix"], stdout=subprocess.PIPE, text=True)
    if conformance.returncode != 0:
        print("matrix: the conformance program fails")
        return 1
    # The tables only: the closing line with its counts belongs to the terminal.
    lines = [line for line in conformance.stdout.split("\n") if line.startswith("|") or not line]
    matrix = "\n".join(lines).strip() + "\n"
    if matrix.count("|") < 10:
        print("matrix: the conformance program printed no table")
        return 1
    with open(README, encoding="utf-8") as file:
        readme = file.read()
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        print("matrix: README.md has no pair of markers", BEGIN, END)
        return 1
    before, rest = readme.split(BEGIN)
    shown, after = rest.split(END)
    if shown == matrix:
        print("matrix: README.md is current")
        return 0
    if sys.argv[1] == "--check":
        print("matrix: README.md is not current; run ./dev matrix")
        return 1
    with open(README, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + matrix + END + after)
    print("matrix: README.md rewritten")
    return 0


if __name__ == "__main__":
    sys.exit(main())
