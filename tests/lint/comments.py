#!/usr/bin/env python3
"""Comments, first lines and widths: what a formatter breaks and a reader needs.

Usage: comments.py SOURCE_ROOT. Prints every violation and exits with 1 when there is one.

  mark     a comment that begins with text and whose last line is prose does not end with a */ on a line of its own: that is
           what a formatter leaves where the text was a little too long. Behind an indented row (a table, a drawing, an
           equation) it may; so may it where /* stands alone too.
  trailing a comment behind code does not go on in the next line: it goes above, or becomes shorter.
  first    every source begins with a comment that says what it is.
  width    sources have 110 columns, but between `clang-format off` and `on`; Markdown too, but tables, code and URLs.
"""
import pathlib
import re
import subprocess
import sys

WIDTH = 110
SOURCES = (".c", ".h", ".cu", ".cuh", ".cpp")
TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.S)


def comment_violations(text):
    for m in TOKEN.finditer(text):
        if not m[0].startswith("/*") or "\n" not in m[0]:
            continue
        lines = m[0].split("\n")
        line = text.count("\n", 0, m.start()) + 1
        if text[text.rfind("\n", 0, m.start()) + 1:m.start()].strip():
            yield line, "a comment behind code that takes several lines: put it above"
        elif lines[-1].strip() in ("*/", "* */") and lines[0].strip() != "/*" and not re.match(r"\s*\*  ", lines[-2]):
            yield line + len(lines) - 1, "*/ alone behind prose: end the comment in the line before"


def width_violations(text):
    free = False
    for number, line in enumerate(text.split("\n"), 1):
        free = "clang-format off" in line or (free and "clang-format on" not in line)
        if len(line) > WIDTH and not free:
            yield number, f"{len(line)} columns, {WIDTH} are allowed"


def source_violations(text):
    if not text.startswith(("/*", "//")):
        yield 1, "begins without a comment that says what it is"
    yield from comment_violations(text)
    yield from width_violations(text)


def markdown_violations(text):
    code = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif len(line) > WIDTH and not code and not line.lstrip().startswith("|") and not re.search(r"\S{80}", line):
            yield number, f"{len(line)} columns, {WIDTH} are allowed"


def violations(root):
    names = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           capture_output=True, text=True)
    if names.returncode:  # an archive of the sources
        paths = sorted(p for d in ("src", "include", "launcher", "bench", "tests", "examples", "docs") for p in (root / d).rglob("*"))
        paths += sorted(root.glob("*.md"))
    else:
        paths = [root / n for n in sorted(set(names.stdout.split("\0"))) if n]
    for path in paths:
        check = source_violations if path.suffix in SOURCES else markdown_violations if path.suffix == ".md" else None
        if check and path.is_file():
            for line, what in check(path.read_text()):
                yield f"{path.relative_to(root)}:{line}: {what}"


def self_test():
    """The checks themselves, on known texts: how many violations each has."""
    for text, count in (
        ("/* What it is. */\nint a;\n", 0),
        ("int a;\n", 1),
        ("/* Text that was too long by a little.\n */\n", 1),
        ("/* Text\n * in two lines.\n */\n", 1),
        ("/* Text\n * in two lines.\n * */\n", 1),
        ("/* Text\n * in two lines. */\n", 0),
        ("/* A table:\n *   row   one\n *   row   two\n */\n", 0),
        ("/*\n * Text between marks that both stand alone.\n */\n", 0),
        ("/* x */\nint a; /* behind code,\n          and on */\n", 1),
        ("/* x */\nconst char *a = \"/*\";\nconst char *b = \"*/\";\n", 0),
        ("/* x */\n// " + "y" * 108 + "\n", 1),
        ("/* x */\n// clang-format off\n" + "y" * 120 + "\n// clang-format on\n", 0),
    ):
        found = list(source_violations(text))
        assert len(found) == count, (text, found)
    for text, count in (
        ("word " * 30 + "\n", 1),
        ("| " + "word " * 30 + "|\n", 0),
        ("```\n" + "word " * 30 + "\n```\n" + "word " * 30 + "\n", 1),
        ("see https://example.org/" + "a" * 100 + "\n", 0),
    ):
        found = list(markdown_violations(text))
        assert len(found) == count, (text, found)


self_test()
bad = list(violations(pathlib.Path(sys.argv[1]).resolve()))
print("\n".join(bad) or "comments: clean")
sys.exit(1 if bad else 0)
