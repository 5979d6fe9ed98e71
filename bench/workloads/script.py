"""A short Python program that allocates as scripts do; its only argument is how often."""
import json
import sys


def records(seed, count):
    state = seed
    for number in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        name = "user-%d" % (state >> 44)
        yield {"id": number, "name": name, "tags": [name[-2:], name[:6]], "score": state % 997}


def main():
    rounds = int(sys.argv[1])
    total = 0
    for seed in range(1, rounds + 1):
        text = json.dumps(list(records(seed, 12000)))
        rows = json.loads(text)
        by_name = {}
        for row in rows:
            by_name.setdefault(row["name"], []).append(row)
        words = " ".join(row["name"].upper() for row in rows).split()
        rows.sort(key=lambda row: (row["score"], row["name"]))
        total += len(set(words)) + sum(row["score"] for row in rows[:100]) + len(by_name)
        total += sum(len(str(value * value)) for value in range(30000))
    print("python seed=1 checksum=%d" % total)


main()
