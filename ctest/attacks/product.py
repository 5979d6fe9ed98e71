"""The product of attacks: its cells, one process each, and how they end."""

import collections
import fnmatch
import os
import queue
import resource
import signal
import subprocess
import threading

from libraries import Fault

SIZES = {16: "16 B", 48: "48 B", 1024: "1 KiB", 24576: "24 KiB", 1048576: "1 MiB", 209715200: "200 MiB"}
THREADS = ("same", "other")
MOMENTS = (0, 1, 200, 100000)
ENTRIES = ("malloc", "aligned", "heap", "new", "rust")
QUICK_MOMENTS, QUICK_ENTRIES = (0, 200), ("malloc", "new")

RESULTS = ("reported", "fault", "ended", "harmless", "missed")
CAUGHT = ("reported", "fault")
ENDED_HARMLESS, ENDED_MISSED, ENDED_BROKEN = 0, 3, 5  # attack.h

Cell = collections.namedtuple("Cell", "kind size thread moment entry")
Outcome = collections.namedtuple("Outcome", "result line")


def show_cell(cell):
    return f"{cell.kind} {cell.size} {cell.thread} {cell.moment} {cell.entry}"


def environment(library):
    env = {"LC_ALL": "C", "LIBC_FATAL_STDERR_": "1"}
    if library.file:
        env["LD_PRELOAD"] = str(library.file)
    return env


def product(program, library):
    """The cells in the program's order, and those that cannot be with the reason."""
    done = subprocess.run([program, "cells"], env=environment(library), stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Fault(f"{library.name}: the program does not start under it ({done.returncode}): {done.stdout}")
    cells, impossible = [], {}
    for line in done.stdout.splitlines():
        kind, size, thread, moment, entry, *why = line.split(" ", 5)
        cell = Cell(kind, int(size), thread, int(moment), entry)
        if why:
            impossible[cell] = why[0]
        else:
            cells.append(cell)
    expected = (
        len({c.kind for c in [*cells, *impossible]}) * len(SIZES) * len(THREADS) * len(MOMENTS) * len(ENTRIES)
    )
    if len(cells) + len(impossible) != expected:
        raise Fault("the program has other sizes, threads, moments or entries than this script")
    return cells, impossible


def classify(status, said, library):
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    line = lines[0] if lines else ""
    if library.level is not None:
        line = next((text for text in lines if text.startswith("mimalloc: error: ")), "")
    if os.WIFEXITED(status):
        code = os.WEXITSTATUS(status)
        if code == ENDED_HARMLESS:
            return Outcome("harmless", line)
        if code == ENDED_MISSED:
            return Outcome("missed", line)
        return Outcome(
            "reported" if line and library.level is None else "ended", line or f"exit status {code}"
        )
    number = os.WTERMSIG(status)
    if number in (signal.SIGSEGV, signal.SIGBUS):
        return Outcome("fault", line)
    if number == signal.SIGABRT and line:
        return Outcome("reported", line)
    # A compiler's trap is the usual end after a message elsewhere.
    if number in (signal.SIGILL, signal.SIGTRAP) and line and library.level is None:
        return Outcome("reported", line)
    return Outcome("ended", signal.Signals(number).name)


class Attacker(threading.Thread):
    """Takes cells from a queue. Its two files take what the programs print, one after the other."""

    def __init__(self, program, library, cells, outcomes, faults):
        super().__init__(daemon=True)
        self.program, self.library, self.env = str(program), library, environment(library)
        self.cells, self.outcomes, self.faults = cells, outcomes, faults
        self.out, self.err = os.memfd_create("out"), os.memfd_create("err")

    def run(self):
        try:
            while True:
                try:
                    cell = self.cells.get_nowait()
                except queue.Empty:
                    return
                self.outcomes[cell] = self.attack(cell)
        except Exception as fault:  # attack() raises it again
            self.faults.append(fault)
        finally:
            os.close(self.out)
            os.close(self.err)

    def attack(self, cell):
        for file in (self.out, self.err):
            os.ftruncate(file, 0)
            os.lseek(file, 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, self.out, 1), (os.POSIX_SPAWN_DUP2, self.err, 2)]
        words = [self.program, *map(str, cell)]
        _, status = os.waitpid(os.posix_spawn(self.program, words, self.env, file_actions=actions), 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == ENDED_BROKEN:
            raise Fault(
                f"{self.library.name}: {' '.join(map(str, cell))}: {os.pread(self.out, 200, 0).decode()}"
            )
        return classify(status, os.pread(self.err, 4096, 0), self.library)


def attack(program, library, cells, jobs):
    # No core files: thousands of processes abort.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    waiting, outcomes, faults = queue.SimpleQueue(), {}, []
    for cell in cells:
        waiting.put(cell)
    attackers = [Attacker(program, library, waiting, outcomes, faults) for _ in range(jobs)]
    for attacker in attackers:
        attacker.start()
    for attacker in attackers:
        attacker.join()
    if faults:
        raise faults[0]
    return {cell: outcomes[cell] for cell in cells}


def selected(cells, options):
    def wanted(cell):
        if options.quick and (cell.moment not in QUICK_MOMENTS or cell.entry not in QUICK_ENTRIES):
            return False
        return not options.only or any(fnmatch.fnmatch(cell.kind, p) for p in options.only.split(","))

    return [cell for cell in cells if wanted(cell)]


def run_product(library, options):
    cells, impossible = product(options.program, library)
    return attack(options.program, library, selected(cells, options), options.jobs), impossible
