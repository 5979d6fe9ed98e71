"""The tables of a run, and results/attacks.md."""

import collections
import json
import os
import re
from pathlib import Path

from libraries import ROOT
from product import RESULTS, SIZES
from promises import broken_promises, compact, describe_broken, read_rules

REPORT = ROOT / "ctest/attacks/results/attacks.md"


def counts_of(outcomes):
    return collections.Counter(outcome.result for outcome in outcomes)


def short(counts):
    return " ".join(f"{counts[result]}{result[0]}" for result in RESULTS if counts[result]) or "-"


def size_rows(outcomes):
    """A row for each kind: its name, and for each size how many cells ended how."""
    cells = collections.defaultdict(list)
    for cell, outcome in outcomes.items():
        cells[cell.kind, cell.size].append(outcome)
    for kind in dict.fromkeys(cell.kind for cell in outcomes):
        yield kind, [short(counts_of(cells[kind, size])) for size in SIZES]


def print_table(library, outcomes, impossible, rules):
    widths = [19] + [15] * len(SIZES)
    rows = [("kind", list(SIZES.values())), *size_rows(outcomes)]
    for kind, columns in rows:
        print("".join(text.ljust(width) for text, width in zip([kind, *columns], widths)).rstrip())
    counts = counts_of(outcomes.values())
    print(f"\n{library.label}: {len(outcomes)} attacks, " + ", ".join(f"{counts[r]} {r}" for r in RESULTS))
    for why, number in collections.Counter(impossible.values()).items():
        print(f"  {number} cells are impossible: {why}")
    if library.level is not None:
        broken = broken_promises(rules, library.level, outcomes)
        print(f"  {len(broken)} promises of level {library.level} are not kept")
        for why, number in collections.Counter(
            describe_broken(c, r, outcomes[c]) for c, r in broken.items()
        ).items():
            print(f"    {number} times {why}")


def is_violation(cell):
    return not cell.kind.startswith("mismatched-")


def markdown(*columns):
    return "| " + " | ".join(map(str, columns)) + " |\n"


REPORT_HEAD = """\
# Attacks

What secure mode does about {kinds} kinds of attack, and what other allocators do. The attacks are a complete product: each kind with each of six sizes, by the thread that allocated the block
or another one, at once or after 1, 200 or 100,000 other operations, through `malloc`, `posix_memalign`, a
first-class heap, `operator new`, and the calls of the crate's `GlobalAlloc`. Each of the cells is a process
of its own under a preloaded library. Written by `ctest/attacks/run --report`; raw results, one letter a
cell, in [attacks.json](attacks.json).

| how an attack ends | |
|---|---|
| reported | a message, and the allocator ended the process |
| fault | SIGSEGV or SIGBUS |
| ended | another end without a message, or no end within 20 seconds |
| harmless | the attack did not reach its aim |
| missed | it did: a block was allocated over a live one, a neighbour had changed, a secret was read, a write after a release was in the next owner's block, two runs had the same addresses |

A fault is counted as caught, but where no guard page is promised it may be luck: the damage hit
something that ended the program. mimalloc says nothing when it ends a program, unless an option asks for
it: its secure builds stand under "ended" for that reason. Peers have fewer cells, as they have no first-class heaps and none of
this crate's calls. {machine}

"""

EXPLANATIONS = """
## What the kinds do

The sources are `ctest/attacks/kinds.c`. `overflow` and `underflow` write 1, 8, 32 bytes or 1 MiB past the
end or the start of a block, with stores or with `memcpy`, aimed at the nearest neighbour; `-reused` waits
until the freed block has a new owner, which only a quarantine can prevent; `free-end` frees the address
after a block, `free-purged` a block whose page went back by `mi_collect(true)`; `free-foreign`, `-stack`
and `-static` free memory of the program's own that pretends to be a block of the C library; `poison`
writes words into a freed block that look like links, plain or mangled as the C library does it, and then
allocates until a block lies on the target; `zero` uses a block of no bytes as if it had the size; `predict`
compares the addresses of two runs.

**No violation here** are the `mismatched` kinds: `mi_free`, and so `free` and every form of
`operator delete`, takes any block, whichever function allocated it. `new` and `free`, `malloc` and `delete`,
`new[]` and `delete`, an aligned `new` and a plain `delete` may be mixed; nothing of that may be reported. A
wrong size in a sized form is a violation.

"""


def report(results, missing, options):
    """results: [(library, outcomes, impossible)]"""
    kinds = list(dict.fromkeys(cell.kind for cell in results[0][1]))
    rules = read_rules(options.program)
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    system = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
    machine = f"Measured on {system[1]}, {cpu[1] if cpu else os.uname().machine}."
    text = [REPORT_HEAD.format(kinds=len(kinds), machine=machine)]

    text.append("## All of them\n\nWithout the `mismatched` kinds.\n\n")
    text.append(markdown("library", "attacks", *RESULTS, "stopped", "not missed"))
    text.append(markdown("---", *["---:"] * (len(RESULTS) + 3)))
    for library, outcomes, _ in results:
        counts = counts_of(outcome for cell, outcome in outcomes.items() if is_violation(cell))
        total = sum(counts.values())
        shares = [total - counts["harmless"] - counts["missed"], total - counts["missed"]]
        percent = [f"{100 * share / total:.1f} %" for share in shares]
        text.append(markdown(library.label, total, *(counts[r] for r in RESULTS), *percent))

    text.append("\n## Missed, by kind\n\nOf a hundred attacks, how many reached their aim.\n\n")
    text.append(markdown("kind", *(library.name for library, _, _ in results)))
    text.append(markdown("---", *["---:"] * len(results)))
    for kind in kinds:
        columns = []
        for _, outcomes, _ in results:
            ends = [outcome.result for cell, outcome in outcomes.items() if cell.kind == kind]
            columns.append(f"{100 * ends.count('missed') / len(ends):.0f}" if ends else "-")
        text.append(markdown(kind, *columns))

    text.append(EXPLANATIONS)
    text.append(
        "## What is promised\n\nFrom `ctest/attacks/rules.toml`; each cell of the product is held against it.\n\n"
    )
    text.append(markdown("from level", "kinds", "sizes", "expected", "why") + markdown(*["---"] * 5))
    for rule in rules:
        where = rule["sizes"] + (
            f", after {' or '.join(map(str, rule['moments']))} operations" if "moments" in rule else ""
        )
        text.append(
            markdown(
                rule["level"], ", ".join(f"`{k}`" for k in rule["kinds"]), where, rule["expect"], rule["why"]
            )
        )

    for library, outcomes, impossible in results:
        text.append(
            f"\n## {library.label}\n\nHow many attacks ended how: r reported, f fault, e ended, h harmless, m missed."
        )
        text.append(
            "".join(
                f" {n} cells are impossible: {why}."
                for why, n in collections.Counter(impossible.values()).items()
            )
        )
        if library.level is not None:
            broken = broken_promises(rules, library.level, outcomes)
            text.append(f" {len(broken)} cells do not keep what their level promises.")
        text.append("\n\n" + markdown("kind", *SIZES.values()) + markdown("---", *["---"] * len(SIZES)))
        text.extend(markdown(kind, *columns) for kind, columns in size_rows(outcomes))
    if missing:
        text.append(f"\nNot there when this was written: {', '.join(missing)}.\n")
    REPORT.write_text("".join(text))

    raw = {
        "letters": {result[0]: result for result in RESULTS},
        "order": "sizes of the table, in each the moments 0, 1, 200, 100000; entries after the bar",
        "libraries": {
            library.name: {
                "label": library.label,
                "cells": compact({c: o.result[0] for c, o in outcomes.items()}),
            }
            for library, outcomes, _ in results
        },
    }
    REPORT.with_suffix(".json").write_text(json.dumps(raw, indent=1) + "\n")
