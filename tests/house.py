#!/usr/bin/env python3
"""The walls of the house: which folder may include which, and how long things may get.

Usage: house.py            checks the tree this file lies in
       house.py --self     checks that each rule still complains about a bad snippet
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = ["quant", "runtime", "backends", "shaders", "converters", "apps", "models", "tests", "cmake"]
CODE = (".h", ".cc", ".c", ".cu", ".cuh", ".comp", ".glsl")
TEXT = CODE + (".py", ".md", ".txt", ".cmake", ".sh", ".json", ".in")

# Floors: a folder includes itself, and the folders named here with everything below those.
BELOW = {
    "quant": [],
    "runtime/base": ["quant"],
    "runtime/io": ["runtime/base"],
    "runtime/graph": ["runtime/base"],
    "runtime/backend": ["runtime/graph"],
    "runtime/models": ["runtime/graph", "runtime/io"],
    "runtime/compile": ["runtime/backend"],
    "runtime/cache": ["runtime/backend"],
    "runtime/text": ["runtime/io"],
    "runtime/session": ["runtime/compile", "runtime/cache", "runtime/models", "runtime/text"],
    "runtime/api": ["runtime/session"],
    "backends/reference": ["runtime/backend"],
    "backends/cpu": ["runtime/backend"],
    "backends/vulkan": ["runtime/backend", "shaders"],
    "backends/cuda": ["runtime/backend"],
    "backends/registry.cc": ["backends/reference", "backends/cpu", "backends/vulkan",
                             "backends/cuda"],
    "shaders": [],
    "converters": ["runtime/io"],
}
# Exact: these see only what is named, whatever that includes itself.
ONLY = {
    "backends/cpu/isa": ["backends/cpu/isa", "backends/cpu/formats"],
    "backends/cpu/formats": ["backends/cpu/isa", "backends/cpu/formats"],
    "apps/convert.cc": ["apps", "runtime/api/runnel.h", "converters"],
    "apps/quantize.cc": ["apps", "runtime/api/runnel.h", "converters"],
    "apps/imatrix.cc": ["apps", "runtime/api/runnel.h", "converters"],
    "apps/calibrate.cc": ["apps", "runtime/api/runnel.h", "converters"],
    "apps/check.cc": ["apps", "runtime/api/runnel.h", "tests/conformance/suite.h"],
    "apps": ["apps", "runtime/api/runnel.h"],
    "tests/install": [],
}
# Third-party headers and the folders that may see them.
LIBRARIES = {
    "nlohmann/": ["runtime/text", "runtime/session", "runtime/api", "converters", "apps", "tests"],
    "utf8proc": ["runtime/text"],
    "pcre2": ["runtime/text"],
    "dnnl|oneapi/": ["backends/cpu"],
    "vulkan/": ["backends/vulkan"],
    "CLI/": ["apps"],
    "histedit|editline/": ["apps"],
    "doctest/": ["tests"],
}
C_HEADERS = re.compile(r"(c?(std(int|def|bool|arg|io|lib)|string|math|float|limits|assert)(\.h)?|"
                       r"\w*mmintrin\.h|x86intrin\.h|arm_\w+\.h|cpuid\.h|sys/auxv\.h|asm/hwcap\.h)$")
LONG_HEADERS = {"runtime/api/runnel.h": 500}  # the whole C API is one installed file
GETENV = ["runtime/base/env.cc", "apps/terminal.cc"]  # the library's, and the program's (NO_COLOR)
DEFINES = re.compile(r"RUNNEL_|DOCTEST_CONFIG_|_GNU_SOURCE$|PCRE2_CODE_UNIT_WIDTH$")
FORBIDDEN = re.compile(r"(?<![\w.])/(?:work|home|root|tmp|mnt|Users)/|\b" + "TO" + r"DO\b|\bFIX" + r"ME\b|\bX" + r"XX\b")
MAY_NAME_PATHS = re.compile(r"^(tests/|dev$)")  # tests may use made-up paths


def owner(path, table):
    """The longest entry of `table` that is `path` or a folder above it."""
    names = [n for n in table if path == n or path.startswith(n + "/")]
    return max(names, key=len) if names else None


def reachable(name):
    seen, todo = set(), [name]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += BELOW.get(name, [])
    return seen


def strip(text):
    """`text` with comments, literals and preprocessor lines blanked, newlines kept."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'
                         r"(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'|^[ \t]*#(?:\\\n|[^\n])*", re.S | re.M)
    return pattern.sub(lambda m: "\n" * m.group().count("\n"), text)


def functions(text):
    """Yields (first line, lines) of every function body at namespace or class level."""
    stack, head, head_line, line, parens = [], "", 1, 1, 0
    for c in strip(text):
        if c == "\n":
            line += 1
        if c == "{":
            outer = all(kind == "scope" for kind, _ in stack)
            scope = re.match(r"\s*(inline\s+|export\s+|template\s*<.*>\s*|typedef\s+)*"
                             r"(namespace|class|struct|union|enum|extern\s*$)", head, re.S)
            is_data = parens or re.search(r"=\s*$", head)
            kind = "scope" if outer and scope else "body" if outer and not is_data else "inner"
            stack.append((kind, head_line))
            head = ""
        elif c == "}" and stack:
            kind, start = stack.pop()
            if kind == "body":
                yield start, line - start + 1
            head = ""
        elif c == ";" and not parens:
            head = ""
        else:
            parens += (c == "(") - (c == ")")
            if not head.strip():
                head_line = line
            head += c


def check_includes(path, text):
    only, floor = owner(path, ONLY), owner(path, BELOW)
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not match:
            continue
        quote, name = match.groups()
        where = f"{path}:{number}: includes {name}"
        if quote == '"':
            target = owner(name, BELOW) or name
            if path.startswith(("shaders/", "tests/install/")):
                continue
            if not os.path.exists(os.path.join(ROOT, name)):
                yield f"{where}, which is no path from the repository root"
            elif only is not None:
                if owner(name, ONLY[only]) is None:
                    yield f"{where}, but {only} sees only {', '.join(ONLY[only])}"
            elif floor is not None and target not in reachable(floor):
                yield f"{where}, which is not below {floor}"
        else:
            for library, folders in LIBRARIES.items():
                if re.match(library, name) and owner(path, folders) is None:
                    yield f"{where}, a library only for {', '.join(folders)}"
            if only in ("backends/cpu/isa", "backends/cpu/formats") and not C_HEADERS.match(name):
                yield f"{where}, but {only} sees only C headers"


def check_code(path, text):
    lines = text.split("\n")
    n_lines = text.count("\n")
    limit = 500
    if path.endswith((".h", ".cuh")):
        limit = LONG_HEADERS.get(path, 200)
    elif re.search(r"\blong:", lines[0]):
        limit = 800  # line 1 says why: "// long: ..."
    if n_lines > limit:
        yield f"{path}: {n_lines} lines, limit {limit}"
    if path.endswith(".h") and path not in LONG_HEADERS and "#pragma once" not in text:
        yield f"{path}: no #pragma once"
    for start, length in functions(text):
        if length > 80:
            yield f"{path}:{start}: function of {length} lines, limit 80"
    for number, line in enumerate(lines, 1):
        define = re.match(r"\s*#\s*define\s+(\w+)", line)
        if define and not DEFINES.match(define.group(1)) and not path.startswith("shaders/"):
            yield f"{path}:{number}: #define {define.group(1)}"
        if re.search(r"\bgetenv\s*\(", line) and path not in GETENV:
            yield f"{path}:{number}: getenv outside {' and '.join(GETENV)}"


def check_text(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        match = FORBIDDEN.search(line)
        if match and not (match.group().startswith("/") and MAY_NAME_PATHS.match(path)):
            yield f"{path}:{number}: forbidden text {match.group()!r}"
    if os.path.basename(path) == "README.md" and os.path.dirname(path) in TOP:
        if text.count("\n") > 80:
            yield f"{path}: longer than 80 lines"


def check_file(path, text):
    yield from check_text(path, text)
    if path.endswith(CODE):
        yield from check_includes(path, text)
        yield from check_code(path, text)


def check_tree():
    for top in TOP:
        if not os.path.exists(os.path.join(ROOT, top, "README.md")):
            yield f"{top}: no README.md"
    paths = [f for f in os.listdir(ROOT) if os.path.isfile(os.path.join(ROOT, f))]
    for top in TOP:
        for folder, _, files in os.walk(os.path.join(ROOT, top)):
            paths += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files]
    for path in sorted(paths):
        if path.endswith(TEXT) or path == "dev":
            # Data files of tests (models, golden outputs, prompts) are not ours to word.
            if path.startswith("tests/") and path.endswith((".json", ".txt")) and \
                    not path.endswith("CMakeLists.txt"):
                continue
            with open(os.path.join(ROOT, path), encoding="utf-8") as file:
                yield from check_file(path, file.read())


BAD = [  # (path, text, a part of the complaint)
    ("quant/a.cc", '#include "runtime/base/status.h"\n', "not below quant"),
    ("runtime/graph/a.cc", '#include "runtime/io/gguf.h"\n', "not below runtime/graph"),
    ("runtime/text/a.cc", '#include "runtime/graph/graph.h"\n', "not below runtime/text"),
    ("backends/cpu/a.cc", '#include "backends/reference/reference.h"\n', "not below backends/cpu"),
    ("runtime/compile/a.cc", '#include "backends/cpu/cpu.h"\n', "not below runtime/compile"),
    ("backends/cpu/isa/a.cc", '#include "quant/dtype.h"\n', "sees only"),
    ("backends/cpu/isa/a.cc", "#include <vector>\n", "only C headers"),
    ("apps/chat.cc", '#include "converters/CMakeLists.txt"\n', "sees only"),
    ("apps/chat.cc", '#include "runtime/base/status.h"\n', "sees only"),
    ("converters/a.cc", '#include "runtime/graph/graph.h"\n', "not below converters"),
    ("quant/a.cc", '#include "codecs.h"\n', "no path from the repository root"),
    ("quant/a.cc", "#include <nlohmann/json.hpp>\n", "a library only for"),
    ("quant/a.cc", "//\n" * 501, "501 lines, limit 500"),
    ("quant/a.cc", "// long: one table\n" + "//\n" * 800, "801 lines, limit 800"),
    ("quant/a.h", "#pragma once\n" + "//\n" * 200, "201 lines, limit 200"),
    ("quant/a.h", "int a();\n", "no #pragma once"),
    ("quant/a.cc", "namespace n {\nint f(int x) {\n" + "  ++x;\n" * 79 + "}\n}\n", "of 81 lines"),
    ("quant/a.cc", "struct S {\n  S() : a{1}, b(2) {\n" + "  g();\n" * 79 + "}\n};\n", "of 81 lines"),
    ("quant/a.cc", "#define MAX 3\n", "#define MAX"),
    ("quant/a.cc", 'const char* h = std::getenv("HOME");\n', "getenv outside"),
    ("quant/a.cc", "// TO" + "DO later\n", "forbidden text"),
    ("quant/README.md", "see /wo" + "rk/main\n", "forbidden text"),
    ("quant/README.md", "line\n" * 81, "longer than 80"),
]
GOOD = [
    ("quant/a.cc", "constexpr int k[] = {\n" + "  1,\n" * 100 + "};\nint f() { return '{'; }\n"),
    ("quant/a.cc", "namespace {\nstruct S {\n" + "  int a();\n" * 100 + "};\n}\n"),
    ("quant/a.cc", "const auto k = f({\n" + '  {"}", 1},\n' * 100 + "});\n"),
    ("runtime/session/a.cc", '#include "runtime/base/status.h"\n#include "quant/dtype.h"\n'),
    ("backends/registry.cc", '#include "backends/cpu/cpu.h"\n'),
    ("apps/a.cc", '#include "runtime/api/runnel.h"\n'),
]


def check_self():
    for path, text, part in BAD:
        found = list(check_file(path, text))
        if len(found) != 1 or part not in found[0]:
            yield f"self test: {path} {text[:40]!r} should give one {part!r}, gave {found}"
    for path, text in GOOD:
        yield from (f"self test: {path} {text[:40]!r} gave {c}" for c in check_file(path, text))


def main():
    complaints = list(check_self() if "--self" in sys.argv[1:] else check_tree())
    for complaint in complaints:
        print(complaint)
    print(f"house: {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
