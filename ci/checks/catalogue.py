"""catalogue.py - the catalogue of planted faults: what breaks, where, and which gate must catch it.

A fault is a file NAME.mutant:

    breaks: one line, what goes wrong
    gate: guard                          the gate that must catch it; see below for files without one
    run: ci/checks/targets --flags lto   how to run the gate; without it, ci/steps.sh GATE
    file: c_src/src/page.c               what the first edits change
    caught-by: a regular expression      what the gate says
    survives: why no test can notice     only for those that do
    --- find
    lines that stand exactly once in the file
    --- replace
    what they become
    --- append                           or: lines that the file ends with then
    --- append FILE                      or: those that another file ends with
    --- create FILE                      or: a new file

Text, not a patch: other edits of the file leave it alone, and where they do not, it must be looked at
again. Three folders have such files:

    ctest/mutants               gate `tests`: `file` is below c_src/src, `caught-by` names tests of ctest; at
                                most two lines in a row change
    ctest/interleave/mutants    gate `interleave`: the same, `caught-by` names scenarios
    ctest/mutants/gates         the others: `gate` is given, `file` is below the root
"""
import difflib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path("c_src/src")
FIELDS = ("breaks", "gate", "run", "file", "caught-by", "survives")
FOLDERS = {
    "tests": ROOT / "ctest" / "mutants",
    "interleave": ROOT / "ctest" / "interleave" / "mutants",
    None: ROOT / "ctest" / "mutants" / "gates",
}
CHANGED_LINES_MAX = 2  # of a fault that tests must catch
SECTION = re.compile(r"^--- (find|replace|append|create)(?: (\S+))?\n", re.M)


class Broken(Exception):
    """Not a result: something is wrong with a fault, a build or the tests themselves."""


class Edit:
    """One change of one file: `find` becomes `text`; without `find` the file ends with `text`, and where it
    must be new, it is made."""

    def __init__(self, file, find, text, new=False):
        self.file, self.find, self.text, self.new = Path(file), find, text, new


class Fault:
    def __init__(self, path, gate=None):
        self.name = path.stem
        text = path.read_text()
        start = SECTION.search(text)
        if not start:
            raise Broken(f"{self.name}: has no '--- find' and '--- replace'")
        fields = self.read_fields(text[: start.start()])
        self.breaks = fields["breaks"]
        self.gate = fields.get("gate", gate)
        self.run = fields.get("run", f"ci/steps.sh {self.gate}").split()
        self.survives = fields.get("survives")
        self.caught_by = re.compile(
            f"^({fields['caught-by']})$" if "gate" not in fields else fields["caught-by"], re.M
        )
        if self.gate is None:
            raise Broken(f"{self.name}: has no field 'gate'")
        below = Path() if "gate" in fields else SOURCES
        self.file = below / fields["file"] if "file" in fields else None
        self.edits = self.read_edits(text[start.start() :])
        if self.gate == "tests":
            self.check_lines()

    def read_fields(self, head):
        fields = {}
        for line in head.splitlines():
            key, colon, value = line.partition(": ")
            if not colon or key not in FIELDS:
                raise Broken(f"{self.name}: what is '{line}'?")
            fields[key] = value.strip()
        for key in ("breaks", "caught-by"):
            if key not in fields:
                raise Broken(f"{self.name}: has no field '{key}'")
        return fields

    def read_edits(self, text):
        parts = SECTION.split(text)[1:]
        edits, find = [], None
        for kind, file, content in zip(parts[::3], parts[1::3], parts[2::3]):
            file = file or self.file
            if file is None:
                raise Broken(f"{self.name}: has no field 'file'")
            if kind == "find":
                find = content
            elif kind == "replace":
                if not find:
                    raise Broken(f"{self.name}: has no '--- find' before '--- replace'")
                edits.append(Edit(file, find, content))
                find = None
            else:
                edits.append(Edit(file, None, content, new=kind == "create"))
        if not edits or find is not None:
            raise Broken(f"{self.name}: has no '--- find' and '--- replace'")
        return edits

    def check_lines(self):
        for edit in self.edits:
            old, new = (edit.find or "").splitlines(), edit.text.splitlines()
            for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, False).get_opcodes():
                if tag != "equal" and max(b - a, d - c) > CHANGED_LINES_MAX:
                    raise Broken(f"{self.name}: changes more than {CHANGED_LINES_MAX} lines")

    @property
    def files(self):
        return list(dict.fromkeys(str(e.file) for e in self.edits))

    def plant(self, tree):
        for edit in self.edits:
            self.plant_edit(edit, tree / edit.file)

    def plant_edit(self, edit, file):
        if edit.new:
            if file.exists():
                raise Broken(f"{self.name}: does not apply: {edit.file} exists")
            file.write_text(edit.text)
            return
        text = file.read_text() if file.exists() else ""
        if edit.find is None:
            file.write_text(text.rstrip("\n") + "\n" + edit.text)
            return
        count = text.count(edit.find)
        if count != 1 or edit.find == edit.text:
            raise Broken(f"{self.name}: does not apply: its text occurs {count} times in {edit.file}")
        file.write_text(text.replace(edit.find, edit.text))


def load(gate):
    """The faults of the folder of `gate`; None: those that name their gate themselves."""
    return [Fault(path, gate) for path in sorted(FOLDERS[gate].glob("*.mutant"))]


def load_all():
    return [fault for gate in FOLDERS for fault in load(gate)]
