"""Results as text, what misses first, and as rows of docs/performance.md."""
import re
import textwrap

ORDER = ("missed", "not measured", "busy machine", "met")
BEGIN, END = "<!-- bench/compare: rows from here -->", "<!-- bench/compare: to here -->"
HEAD = "| row | what | target | measured | rounds | verdict | others' CPUs | date |\n| --- | --- | --- | --- | --- | --- | --- | --- |"


def number(x):
    return f"{x:.3g}" if abs(x) < 1000 else f"{x:,.0f}"


def spread(result):
    return f"{number(min(result.rounds))} to {number(max(result.rounds))}" if result.rounds else "-"


def sides(result):
    """Each side's median, in its own unit."""
    import statistics
    return ", ".join(f"{s} {number(statistics.median(v))}" for s, v in result.samples.items() if v)


def sort(results):
    return sorted(results, key=lambda r: ORDER.index(r.verdict))


def text(results, machine):
    lines = [machine, ""]
    for verdict in ORDER:
        chosen = [r for r in results if r.verdict == verdict]
        if not chosen:
            continue
        lines.append(f"{verdict}:")
        for r in chosen:
            value = f"{number(r.value)} {r.row.unit} ({spread(r)})" if r.value is not None else r.reason
            lines.append(f"  {r.row.name:18} {r.row.sense} {r.row.target:<5g} {value}")
            if r.value is not None:
                lines.append(f"  {'':18} {sides(r)}; others used {r.others:.1f} CPUs")
    busy = [r for r in results if r.verdict == "busy machine"]
    if busy:
        lines += ["", f"warning: others computed meanwhile in {len(busy)} of {len(results)} rows: measure on a quieter machine"]
    return "\n".join(lines)


def line(r):
    value = f"{number(r.value)} {r.row.unit}; {sides(r)}" if r.value is not None else re.sub(r"\s+", " ", r.reason).replace("|", "/")
    return (f"| {r.row.name} | {r.row.what} | {r.row.sense} {r.row.target:g} {r.row.unit} | {value} | {spread(r)} | {r.verdict} | "
            f"{r.others:.1f} | {r.date} |")


def write(path, results, machine):
    """Rows that were not run stay; those that miss come first."""
    page = path.read_text()
    if BEGIN not in page or END not in page:
        raise SystemExit(f"{path} has no lines '{BEGIN}' and '{END}' to put the rows between")
    before, rest = page.split(BEGIN, 1)
    old, after = rest.split(END, 1)
    lines = {l.split("|")[1].strip(): l for l in old.splitlines() if l.startswith("| ") and not l.startswith(("| row ", "| ---"))}
    lines.update({r.row.name: line(r) for r in results})
    verdict = {name: l.split("|")[6].strip() for name, l in lines.items()}
    ordered = sorted(lines, key=lambda n: ORDER.index(verdict[n]) if verdict[n] in ORDER else 0)
    measured = textwrap.fill(f"Last measured on: {machine}.", 110)
    path.write_text(f"{before}{BEGIN}\n\n{measured}\n\n{HEAD}\n" + "\n".join(lines[n] for n in ordered) + f"\n\n{END}{after}")
