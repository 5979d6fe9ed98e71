"""The gate: no level catches less than recorded, or than it promises. And the test of the gate."""

import collections
import fnmatch
import os

from libraries import Fault, build_level, level_library
from product import CAUGHT, attack, run_product, show_cell
from promises import LEVELS, broken_promises, describe_broken, read_record, read_rules

AGAIN = 20
AGAIN_CELLS = 300


def still_holds(letter, outcome):
    return outcome.result in CAUGHT or (letter == "s" and outcome.result == "harmless") or letter == "."


def lost_cells(library, outcomes, letters, options):
    """Cells that were caught, or safe, when recorded, and are not now.

    A promise must be kept each time, which rules.toml is for. What is caught without a promise may
    be so by chance, which the rounds of the record cannot tell for sure: such a cell is measured again,
    and lost if it never holds, or once, where a cell of chance does several times.
    """
    suspects = [
        cell for cell, outcome in outcomes.items() if not still_holds(letters.get(cell, "."), outcome)
    ]
    if len(suspects) > AGAIN_CELLS:
        return suspects
    held = collections.Counter()
    for _ in range(AGAIN):
        for cell, outcome in attack(options.program, library, suspects, options.jobs).items():
            held[cell] += still_holds(letters[cell], outcome)
    return [cell for cell in suspects if held[cell] <= 1]


def check(library, level, outcomes, options, out):
    """True when nothing was lost and no promise was broken anew. `level` may be another than the
    library's own, which the self-test wants."""
    letters, owed = read_record(level)
    if level in LEVELS and not letters:
        raise Fault(f"expected.toml has no level {level}")
    broken = broken_promises(read_rules(options.program), level, outcomes)
    new = {cell: rule for cell, rule in broken.items() if cell not in owed}
    lost = lost_cells(library, outcomes, letters, options)
    for cell, rule in list(new.items())[:20]:
        words = describe_broken(cell, rule, outcomes[cell])
        print(f"promise broken: {show_cell(cell)}: {words}: {outcomes[cell].line}", file=out)
    for cell in lost[:20]:
        print(f"no longer caught: {show_cell(cell)}: {outcomes[cell].result}", file=out)
    print(
        f"level {level}: {len(outcomes)} attacks, {len(new)} promises broken, {len(lost)} no longer caught, "
        f"{len(broken) - len(new)} owed",
        file=out,
    )
    return not new and not lost


def gate_fails(library, outcomes, level, options, rules):
    """Shows that the gate of a level fails on a library of a lower one."""
    letters, owed = read_record(level)
    broken = [c for c in broken_promises(rules, level, outcomes) if c not in owed]
    lost = [c for c, outcome in outcomes.items() if not still_holds(letters.get(c, "."), outcome)]
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        failed = not check(library, level, outcomes, options, nowhere)
    print(
        f"level {level} against {library.label}: {'fails, as it must' if failed else 'PASSES'}"
        f" ({len(broken)} promises broken, {len(lost)} no longer caught)"
    )
    return failed


def differ(letters, below):
    """By more than the few cells that chance decides, mostly those with races."""
    gained = [cell for cell in letters if letters[cell] == "C" and below.get(cell) != "C"]
    return 100 * len(gained) > len(letters)


def self_test(options):
    """The gate of each level must fail on a build without secure mode and, where the builds are to
    be made anyway, on one of the level below."""
    default = level_library(options.library.resolve()) if options.library else build_level(0)
    if default.level != 0:
        raise Fault("the self-test needs a build without secure mode")
    rules = read_rules(options.program)
    outcomes, _ = run_product(default, options)
    ok = True
    for level in LEVELS:
        ok &= gate_fails(default, outcomes, level, options, rules)
    for kind in toothless(outcomes, rules):
        print(f"TOOTHLESS: {kind} never reaches its aim, not even against the default build")
        ok = False
    for level in () if options.library else LEVELS[1:]:
        if not differ(read_record(level)[0], read_record(level - 1)[0]):
            print(f"levels {level - 1} and {level} are recorded alike: there is no difference to find")
            continue
        below = build_level(level - 1)
        ok &= gate_fails(below, run_product(below, options)[0], level, options, rules)
    return ok


def toothless(outcomes, rules):
    """Kinds of which it may mean nothing that they are harmless: no rule wants more than that they
    do not reach their aim, and they never do, not even where nothing defends."""
    strict = {
        cell.kind
        for cell in outcomes
        for rule in rules
        if rule["expect"] != "safe" and any(fnmatch.fnmatch(cell.kind, p) for p in rule["kinds"])
    }
    reaching = {cell.kind for cell, outcome in outcomes.items() if outcome.result == "missed"}
    # The system defends in one case; the same comparison without it is predict-unrandomised.
    return sorted({cell.kind for cell in outcomes} - strict - reaching - {"predict-absolute"})
