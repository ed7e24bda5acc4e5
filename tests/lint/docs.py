#!/usr/bin/env python3
"""Documents: what several hands write at once, and what moves under them.

Usage: docs.py SOURCE_ROOT. Prints every violation and exits with 1 when there is one.

  link    a link to a file of the project leads to one, a link to a heading to one that is there.
  adr     docs/adr/NNNN-*.md are numbered without a gap, and the title of each begins with its number.
  change  no entry of CHANGELOG.md stands there twice, every heading once.
"""
import pathlib
import re
import sys

LINK = re.compile(r"\[[^][]*\]\(([^()\s]+)\)")


def anchors(text):
    """The names by which links reach the headings of a text."""
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in re.findall(r"^#+ (.*)$", text, re.M)}


def link_violations(path, text):
    for target in LINK.findall(re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
        name, _, anchor = target.partition("#")
        if "://" in target:
            continue
        to = path.parent / name if name else path
        if not to.exists():
            yield f"{target} leads nowhere"
        elif anchor and anchor not in anchors(to.read_text()):
            yield f"{target}: there is no such heading"


def adr_violations(texts):
    """texts: file name to text."""
    for number, name in enumerate(sorted(texts), 1):
        if not name.startswith(f"{number:04}-"):
            yield f"{name}: {number:04} was to be expected"
        elif not texts[name].startswith(f"# {number:04}: "):
            yield f"{name}: the title does not begin with '# {number:04}: '"


def change_violations(text):
    seen = set()
    for entry in re.findall(r"^- .*(?:\n  .*)*", text, re.M):
        words = " ".join(entry.split())
        if words in seen:
            yield f"twice: {words[:70]}"
        seen.add(words)
    for release in re.split(r"^## ", text, flags=re.M)[1:]:
        headings = re.findall(r"^\w+$", release, re.M)
        for h in sorted({h for h in headings if headings.count(h) > 1}):
            yield f"the heading {h} stands there twice"


def violations(root):
    paths = [p for p in sorted(root.rglob("*.md")) if not {"build", ".git"} & set(p.relative_to(root).parts)]
    for path in paths:
        for what in link_violations(path, path.read_text()):
            yield f"{path.relative_to(root)}: {what}"
    for what in adr_violations({p.name: p.read_text() for p in (root / "docs/adr").glob("*.md")}):
        yield f"docs/adr/{what}"
    for what in change_violations((root / "CHANGELOG.md").read_text()):
        yield f"CHANGELOG.md: {what}"


def self_test():
    """The checks themselves, on known texts: how many violations each has."""
    here = pathlib.Path(__file__)
    for text, count in (("[a](docs.py) [b](https://x.y/z#q)", 0), ("[a](nothing.md)", 1), ("# It is, so\n[a](#it-is-so)", 0)):
        found = list(link_violations(here, text)) if "#it" not in text else [] if "it-is-so" in anchors(text) else [text]
        assert len(found) == count, (text, found)
    one, two = "# 0001: a\n", "# 0002: b\n"
    for texts, count in (({"0001-a.md": one, "0002-b.md": two}, 0), ({"0001-a.md": one, "0002-b.md": "# b\n"}, 1),
                         ({"0001-a.md": one, "0003-b.md": two}, 1), ({"0001-a.md": one, "0001-b.md": one}, 1)):
        found = list(adr_violations(texts))
        assert len(found) == count, (texts, found)
    for text, count in (("# C\n\n## U\n\nNew\n- a\n  b\n- c\n\nFixed\n- d\n", 0), ("## U\n\nNew\n- a\n  b\n- c\n\nFixed\n- a b\n", 1),
                        ("## U\n\nNew\n- a\n- b\n\nNew\n- c\n", 1),
                        ("## 2\n\nNew\n- a\n\n## 1\n\nNew\n- b\n", 0)):
        found = list(change_violations(text))
        assert len(found) == count, (text, found)


def main():
    self_test()
    found = list(violations(pathlib.Path(sys.argv[1])))
    print("\n".join(found) or "docs: clean")
    return bool(found)


sys.exit(main())
