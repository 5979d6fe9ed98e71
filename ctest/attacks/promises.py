"""The promises of each level (rules.toml) and its recorded results (expected.toml)."""

import fnmatch
import itertools
import re
import subprocess
import tomllib

from libraries import HERE, Fault
from product import CAUGHT, ENTRIES, MOMENTS, SIZES, THREADS, Cell, run_product

EXPECTED = HERE / "expected.toml"
LEVELS = (1, 2, 3, 4)
SMALL_MAX = 65536


def read_rules(program):
    """A pattern that matches no kind would promise nothing without notice."""
    done = subprocess.run([program, "cells"], stdout=subprocess.PIPE, text=True, check=True)
    kinds = {line.split()[0] for line in done.stdout.splitlines()}
    rules = tomllib.loads((HERE / "rules.toml").read_text())["rule"]
    for rule in rules:
        for pattern in rule["kinds"]:
            if not fnmatch.filter(kinds, pattern):
                raise Fault(f"rules.toml: no kind is named {pattern}")
    return rules


def rule_matches(rule, cell, level):
    size = "small" if cell.size <= SMALL_MAX else "large"
    return (
        level >= rule["level"]
        and rule["sizes"] in ("all", size)
        and cell.moment in rule.get("moments", MOMENTS)
        and any(fnmatch.fnmatch(cell.kind, pattern) for pattern in rule["kinds"])
    )


def rule_holds(rule, outcome):
    expect, result = rule["expect"], outcome.result
    if expect == "safe":
        return result in CAUGHT or result == "harmless"
    if expect == "caught":
        right = result in CAUGHT
    else:
        right = result == expect
    if right and result == "reported" and "says" in rule:
        return re.match(f"mimalloc: error: ({rule['says']}): ", outcome.line) is not None
    return right


def broken_promises(rules, level, outcomes):
    return {
        cell: rule
        for cell, outcome in outcomes.items()
        for rule in rules
        if rule_matches(rule, cell, level) and not rule_holds(rule, outcome)
    }


def describe_broken(cell, rule, outcome):
    if outcome.result in (rule["expect"], *CAUGHT) and "says" in rule and outcome.line:
        return f"{cell.kind}: the message does not say '{rule['says']}'"
    return f"{cell.kind}: {outcome.result}, where {rule['expect']} is promised"


# --- the record -------------------------------------------------------------------------------------
#
# A letter for each cell. The cells of a kind that differ only in size and moment are one pattern, and
# the pairs of entry and thread with the same pattern share a line.

GROUPS = [(entry, thread) for entry in ENTRIES for thread in THREADS]


def compact(letters):
    """{cell: letter} as {kind: ["PATTERN | ENTRY ENTRY.THREAD ..."]}; '-' where there is no letter."""
    kinds = {}
    for kind in dict.fromkeys(cell.kind for cell in letters):
        lines = {}
        for entry, thread in GROUPS:
            pattern = " ".join(
                "".join(letters.get(Cell(kind, size, thread, moment, entry), "-") for moment in MOMENTS)
                for size in SIZES
            )
            if pattern.strip("- "):
                lines.setdefault(pattern, []).append((entry, thread))
        kinds[kind] = [f"{pattern} | {' '.join(shorten(groups))}" for pattern, groups in lines.items()]
    return kinds


def shorten(groups):
    if len(groups) == len(GROUPS):
        return ["all"]
    names = []
    for entry in ENTRIES:
        threads = [thread for e, thread in groups if e == entry]
        names += [entry] if len(threads) == len(THREADS) else [f"{entry}.{thread}" for thread in threads]
    return names


def expand(kinds):
    letters = {}
    for kind, lines in kinds.items():
        for line in lines:
            pattern, names = line.split(" | ")
            groups = (
                GROUPS
                if names == "all"
                else [
                    (entry, thread)
                    for entry, _, only in (name.partition(".") for name in names.split())
                    for thread in ((only,) if only else THREADS)
                ]
            )
            for (size, group), (entry, thread) in itertools.product(zip(SIZES, pattern.split()), groups):
                for moment, letter in zip(MOMENTS, group):
                    if letter != "-":
                        letters[Cell(kind, size, thread, moment, entry)] = letter
    return letters


RECORD_HEAD = """\
# What secure mode does about the attacks, level by level; `run --record` writes this file, and a run
# with --check fails when less is caught. A group of letters is a size (16 B, 48 B, 1 KiB, 24 KiB, 1 MiB,
# 200 MiB), a letter a moment (after 0, 1, 200, 100000 other operations); after the bar stand the
# entries, with the thread if it is one of the two.
#
#   C  caught (reported or a fault) each time     s  caught or harmless each time
#   .  missed, or ended otherwise, at least once  -  impossible
#
# `owed` marks by x what rules.toml promises and the library does not do yet.
"""


def write_record(record):
    """record: {level: (letters, owed letters)}"""
    text = [RECORD_HEAD]
    for level, (letters, owed) in sorted(record.items()):
        for title, cells in ((f"level-{level}", letters), (f"level-{level}.owed", owed)):
            text.append(f"\n[{title}]\n")
            for kind, lines in compact(cells).items():
                if len(lines) == 1:
                    text.append(f'{kind} = ["{lines[0]}"]\n')
                else:
                    text.append(f"{kind} = [\n" + "".join(f'  "{line}",\n' for line in lines) + "]\n")
    EXPECTED.write_text("".join(text))


def read_record(level):
    tables = tomllib.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    table = dict(tables.get(f"level-{level}", {}))
    owed = table.pop("owed", {})
    return expand(table), expand(owed)


def record_level(library, options):
    """Several rounds: of a result that depends on chance the worst is recorded."""
    rounds = [run_product(library, options)[0] for _ in range(options.rounds)]
    rules = read_rules(options.program)
    letters, owed = {}, {}
    for cell in rounds[0]:
        results = {outcomes[cell].result for outcomes in rounds}
        letters[cell] = "C" if results <= set(CAUGHT) else "s" if results <= {*CAUGHT, "harmless"} else "."
    for outcomes in rounds:
        for cell in broken_promises(rules, library.level, outcomes):
            owed[cell] = "x"
    return letters, {cell: owed[cell] for cell in letters if cell in owed}
