#!/usr/bin/python3
"""Branch coverage of the parts where a branch never taken is a promise never tested.

    coverage.py BUILD [--below PERCENT]

Reads what the tests of a build with -DDRAX_COVERAGE=ON left behind, by way of gcovr. Prints a line
for each line of code with a branch that was not taken, then a table; ends with 1 when a group is below
PERCENT (95). The branches of assert() do not count: the side that fails is not to be reached."""
import argparse
import json
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
GROUPS = {"raft core": "actors/raft/", "journal": "store/journal"}


def report(build):
    filters = [word for prefix in GROUPS.values() for word in ("--filter", prefix)]
    command = ["gcovr", "--root", ".", "--object-directory", str(build), *filters,
               "--exclude-branches-by-pattern", r".*\bassert\(.*", "--json", "-", str(build)]
    return json.loads(subprocess.run(command, cwd=TOP, check=True, stdout=subprocess.PIPE).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--below", type=float, default=95.0, help="fail below this percentage")
    options = parser.parse_args()
    totals = {group: [0, 0] for group in GROUPS}
    rows = []
    for file in sorted(report(options.build.resolve())["files"], key=lambda entry: entry["file"]):
        source = (TOP / file["file"]).read_text().splitlines()
        group = next(name for name, prefix in GROUPS.items() if file["file"].startswith(prefix))
        taken = count = 0
        for line in file["lines"]:
            branches = line["branches"]
            missed = sum(branch["count"] == 0 for branch in branches)
            count += len(branches)
            taken += len(branches) - missed
            if missed:
                number = line["line_number"]
                print(f"{file['file']}:{number}: {missed} of {len(branches)} not taken: {source[number - 1].strip()}")
        totals[group][0] += taken
        totals[group][1] += count
        if count:
            rows.append((file["file"], taken, count))
    print()
    for name, taken, count in rows + [(group, *totals[group]) for group in GROUPS]:
        print(f"{name:34}{taken:6} of {count:5} branches {100 * taken / count:7.2f} %")
    low = [group for group, (taken, count) in totals.items() if 100 * taken < options.below * count]
    if low:
        print(f"below {options.below:g} %: {', '.join(low)}")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
