"""The attack program and the libraries that are attacked: built, or found."""

import collections
import os
import re
import subprocess
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target/attacks"
PEERS = ROOT / "bench/out/lib"

Library = collections.namedtuple("Library", "name label file level")  # level: None for a peer


class Fault(Exception):
    """A fault of this program, as opposed to an allocator that catches too little."""


def command(*words):
    done = subprocess.run(
        [str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise Fault(f"{words[0]} failed:\n{done.stdout}")


def build_program():
    program, sources = WORK / "attack", sorted(HERE.glob("*.[ch]"))
    if program.exists() and program.stat().st_mtime > max(file.stat().st_mtime for file in sources):
        return program
    WORK.mkdir(parents=True, exist_ok=True)
    made = program.with_suffix(f".{os.getpid()}")
    # -fno-builtin: a compiler that knows malloc removes what is to be attacked.
    flags = ["-std=c11", "-O1", "-g", "-fno-builtin", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    files = [file for file in sources if file.suffix == ".c"]
    command(os.environ.get("CC", "cc"), *flags, "-o", made, *files, "-pthread", "-ldl")
    made.rename(program)  # another run may be using the old one
    return program


def build_level(level):
    build = WORK / f"level-{level}"
    options = ["-DMI_BUILD_STATIC=OFF", "-DMI_BUILD_OBJECT=OFF", "-DMI_BUILD_TESTS=OFF"]
    command(
        "cmake",
        "-S",
        ROOT / "c_src",
        "-B",
        build,
        "-DCMAKE_BUILD_TYPE=Release",
        f"-DMI_SECURE={level}",
        *options,
    )
    command("cmake", "--build", build, "--target", "mimalloc", "--parallel", os.cpu_count())
    return level_library(next(build.glob("libmimalloc*.so.2")))


def level_library(file):
    """A library of this project says itself of which level it is."""
    env = {"LD_PRELOAD": str(file), "MIMALLOC_VERBOSE": "1"}
    said = subprocess.run(["/bin/true"], env=env, stderr=subprocess.PIPE, text=True).stderr
    level = re.search(r"^mimalloc: .*secure level (\d)", said, re.MULTILINE)
    if not level:
        raise Fault(f"{file} does not say its secure level; use --peer for other allocators")
    level = int(level[1])
    return Library(
        f"level-{level}" if level else "default",
        f"this project, level {level}" if level else "this project, default",
        file,
        level,
    )


def peer_library(name):
    if name == "glibc":
        return Library(name, "glibc " + os.confstr("CS_GNU_LIBC_VERSION").split()[-1], None, None)
    file = PEERS / f"{name}.so"
    if not file.exists():
        raise Fault(f"no {file.name}: cd bench && cargo run --release -- build --allocators {name}")
    origin = file.with_suffix(".origin")
    label = origin.read_text().strip() if origin.exists() else name
    return Library(name, label, file, None)


def all_peers():
    """glibc, and what libraries.toml has and is built, in its order; the other names too."""
    listed = tomllib.loads((ROOT / "bench/libraries.toml").read_text())["library"]
    names = [entry["name"] for entry in listed if entry["name"] not in ("ours", "glibc")]
    there = [name for name in names if (PEERS / f"{name}.so").exists()]
    peers = [
        peer_library(name)._replace(label=next(e["label"] for e in listed if e["name"] == name))
        for name in there
    ]
    return [peer_library("glibc")] + peers, [name for name in names if name not in there]
