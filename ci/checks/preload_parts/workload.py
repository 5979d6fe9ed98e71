"""preload_workload.py - what python3 does in ci/checks/preload: JSON, regular expressions, SQLite, threads.

Prints one hash per part. Everything is derived from a fixed seed, so two runs print the same lines.
"""

import hashlib
import json
import random
import re
import sqlite3
import threading


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def json_part(rng):
    rows = [
        {"id": i, "name": "n" * rng.randrange(200), "tags": [str(rng.random()) for _ in range(8)]}
        for i in range(8000)
    ]
    text = json.dumps(rows)
    for _ in range(3):
        text = json.dumps(json.loads(text), indent=rng.choice([None, 1]))
    return digest(text)


def regex_part(rng):
    words = " ".join("".join(rng.choices("abcde0123", k=rng.randrange(1, 12))) for _ in range(60000))
    found = re.findall(r"([a-e]+)(\d+)([a-e]?)", words)
    swapped = re.sub(r"(\d+)([a-e]+)", r"\2-\1", words)
    return digest(repr(found[:5000]) + swapped)


def sqlite_part(rng):
    base = sqlite3.connect(":memory:")
    base.execute("create table item (id integer primary key, kind integer, name text)")
    rows = [(i, rng.randrange(100), "x" * rng.randrange(60)) for i in range(40000)]
    base.executemany("insert into item values (?, ?, ?)", rows)
    base.execute("create index item_kind on item (kind)")
    answer = base.execute(
        "select a.kind, count(*), sum(length(b.name)) from item a join item b on b.id = a.id + a.kind"
        " group by a.kind order by 1"
    ).fetchall()
    return digest(repr(answer))


def threads_part():
    # Blocks that one thread makes and another one drops.
    results = [None] * 4

    def work(index):
        results[index] = [str(i * index) * 10 for i in range(20000)]

    for _ in range(3):
        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(results))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return digest("".join("".join(part) for part in results))


def main():
    rng = random.Random(20260101)
    print("json", json_part(rng))
    print("regex", regex_part(rng))
    print("sqlite", sqlite_part(rng))
    print("threads", threads_part())


if __name__ == "__main__":
    main()
