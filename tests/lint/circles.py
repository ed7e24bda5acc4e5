#!/usr/bin/env python3
"""No circles between the source files of a module: whoever calls a file is not called by it.

Usage: circles.py SOURCE_ROOT. A file depends on another of its module (a folder in src, launcher, bench) when it uses
a function or table that the other defines. Prints every group of files that depend on each other in a circle, with
one name for each step, and exits with 1 when there is one that ALLOWED does not excuse.
"""
import pathlib
import re
import sys

# Circles that have to stay: their files, and why. A row whose files are in no circle any more is an error.
ALLOWED = {}

NOT_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
# At the beginning of a line: a function with its body (the brace stands on a line of its own), or a table's value.
DEFINITION = re.compile(r"^(?!static\b|typedef\b|struct \w+ \{|enum \w+ \{)[A-Za-z][\w \t*]*?\b(\w+)"
                        r"(?:\([^;{}]*\)\s*\n\{|(?:\[[^\]]*\])*\s*=[^=])", re.M)
WORD = re.compile(r"\b[A-Za-z_]\w+\b")


def modules(root):
    src = root / "src"
    folders = sorted(p for p in src.iterdir() if p.is_dir()) if src.is_dir() else []
    for folder in [*folders, root / "launcher", root / "bench"]:
        files = sorted(p for p in folder.rglob("*") if p.suffix in (".c", ".cu"))
        if files:
            yield files


def dependencies(files):
    """{file: {other file: a name that it uses of it}}; only names that one file of the module defines."""
    text = {f: NOT_CODE.sub(" ", f.read_text()) for f in files}
    owner = {}
    for f in files:
        for name in DEFINITION.findall(text[f]):
            owner.setdefault(name, set()).add(f)
    found = {f: {} for f in files}
    for f in files:
        for name in WORD.findall(text[f]):
            owners = owner.get(name, ())
            if len(owners) == 1 and f not in owners:
                found[f].setdefault(next(iter(owners)), name)
    return found


def circles(graph):
    """Groups of files that reach each other: Tarjan's strongly connected components of more than one."""
    index, low, stack, groups = {}, {}, [], []

    def visit(f):
        index[f] = low[f] = len(index)
        stack.append(f)
        for other in graph[f]:
            if other not in index:
                visit(other)
                low[f] = min(low[f], low[other])
            elif other in stack:
                low[f] = min(low[f], index[other])
        if low[f] == index[f]:
            group = stack[stack.index(f):]
            del stack[stack.index(f):]
            if len(group) > 1:
                groups.append(set(group))

    for f in graph:
        if f not in index:
            visit(f)
    return groups


def one_circle(graph, group):
    """The files of a shortest way round inside the group."""
    best = None
    for start in sorted(group):
        ways = [[start]]
        seen = set()
        while ways and (best is None or len(ways[0]) < len(best)):
            way = ways.pop(0)
            if start in graph[way[-1]] and len(way) > 1:
                best = way
                break
            for other in sorted(graph[way[-1]]):
                if other in group and other not in seen:
                    seen.add(other)
                    ways.append([*way, other])
    return best


def violations(root, allowed):
    unused = dict(allowed)
    for files in modules(root):
        graph = dependencies(files)
        for group in circles(graph):
            names = frozenset(str(f.relative_to(root)) for f in group)
            if unused.pop(names, None):
                continue
            way = one_circle(graph, group)
            steps = ", ".join(f"{a.relative_to(root)} uses {graph[a][b]} of {b.name}" for a, b in zip(way, [*way[1:], way[0]]))
            more = f" (and {len(group) - len(way)} more files around them)" if len(group) > len(way) else ""
            yield f"a circle: {steps}{more}"
    for names, why in unused.items():
        if all((root / name).exists() for name in names):
            yield f"circles.py excuses a circle that is none any more: {', '.join(sorted(names))} ({why})"


def self_test():
    """The check itself: a tree with known circles, and with what only looks like one."""
    import tempfile

    with tempfile.TemporaryDirectory() as d:
        root = pathlib.Path(d)
        for name, text in {
            "src/a/one.c": "int ddp_one(int x)\n{\n    return ddp_two(x);\n}\n",
            "src/a/two.c": "int ddp_two(int x)\n{\n    return ddp_three(x);\n}\n",
            "src/a/three.c": "int ddp_three(int x,\n              int y)\n{\n    return ddp_one(x);\n}\n",
            "src/b/up.c": 'int ddp_up(void)\n{\n    return ddp_down(); /* ddp_side */\n}\n',
            "src/b/down.c": 'int ddp_down(void)\n{\n    return say("ddp_up");\n}\n',
            "src/b/side.c": "static int ddp_down(void)\n{\n    return 1;\n}\nint ddp_side(void);\n",
            "launcher/table.c": "const struct ddp_t ddp_t = {.f = f};\nint ddp_f(void)\n{\n    return ddp_user();\n}\n",
            "launcher/user.c": "int ddp_user(void)\n{\n    return ddp_t.f();\n}\n",
        }.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        found = list(violations(root, {}))
        assert len(found) == 2 and "src/a/one.c uses ddp_two of two.c" in found[0] and "ddp_t" in found[1], found
        pair = frozenset({"launcher/table.c", "launcher/user.c"})
        assert len(list(violations(root, {pair: "why"}))) == 1
        assert "none any more" in list(violations(root, {frozenset({"src/b/up.c", "src/b/down.c"}): "why"}))[-1]
        assert len(list(violations(root, {frozenset({"src/a/gone.c"}): "why"}))) == 2


self_test()
bad = list(violations(pathlib.Path(sys.argv[1]), ALLOWED))
print("\n".join(bad) or "circles: none")
sys.exit(1 if bad else 0)
