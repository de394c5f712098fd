#!/usr/bin/python3
"""Shows that deliberately broken variants of the code are caught, by whom, and within how many seeds.

    run.py [--build FOLDER] [--jobs N] [--only NAME…] [--quick] [--with PROGRAM…] [--table FILE]
    run.py --list        the variants and what they break
    run.py --check       only whether all of them still apply (the ctest mutants_apply)

A variant (variant.py) is caught when the simulator names a check or an assertion of the code fails. One that the
simulator cannot see says why, and which program catches it instead. Ends with 1 when a variant survives, does not
apply, does not compile, or ends in a way that no check explains; or when the unbroken code fails."""
import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import catchers
import variant as variants


def programs_of(variant, options):
    return options.programs or variant.programs() or [catchers.SIM]


def outcome(build, variant, programs):
    """(Caught or None, what went wrong or "")"""
    try:
        with tempfile.TemporaryDirectory(prefix=variant.name + "-", dir=build.folder) as folder:
            place = Path(folder)
            objects = build.objects(variant, place)
            for program in programs:
                path = build.program(variant, program, objects, place)
                caught = catchers.run(program, path, variant.seeds)
                if caught and program == catchers.SIM and unbroken_fails(build, [program], 1, caught.seeds):
                    return None, f"seed {caught.seeds} fails without it, too"
                if caught:
                    return caught, ""
        return None, "survives"
    except variants.VariantError as error:
        return None, str(error)


def unbroken_fails(build, programs, seeds, first=1):
    """What a program says of the code as it is; None when all is well."""
    for program in programs:
        caught = catchers.run(program, build.folder / catchers.ninja_path(program), seeds, first)
        if caught:
            return f"{program} fails on the code as it is: {caught.check} (seed {caught.seeds})"
    return None


def row(variant, caught, wrong):
    if not caught:
        return f"{variant.name:36} NOT CAUGHT  {wrong}"
    seeds = f"{caught.seeds:4} seeds" if caught.seeds else " " * 10
    return f"{variant.name:36} {seeds} {caught.seconds:6.1f} s  {caught.program}: {caught.check}"


def table_write(path, results):
    """For docs/TESTING.md."""
    with open(path, "w") as out:
        out.write("| variant | what it breaks | caught by | seeds |\n|---|---|---|---|\n")
        for variant, caught, wrong in results:
            by = caught.check if caught else "**" + wrong.splitlines()[0] + "**"
            if caught and caught.program != catchers.SIM:
                by = f"{caught.program}: {by}"
            rule = f" ({variant.fields['rule']})" if "rule" in variant.fields else ""
            out.write(f"| `{variant.name}` | {variant.fields['breaks']}{rule} | {by} | "
                      f"{caught.seeds if caught and caught.seeds else ''} |\n")


def choose(options):
    chosen = variants.load_all()
    if options.only:
        unknown = set(options.only) - {variant.name for variant in chosen}
        if unknown:
            raise variants.VariantError("no such variant: " + ", ".join(sorted(unknown)))
        chosen = [variant for variant in chosen if variant.name in options.only]
    return [variant for variant in chosen if variant.quick] if options.quick else chosen


def check(chosen):
    bad = 0
    for variant in chosen:
        try:
            variant.broken()
        except variants.VariantError as error:
            print(error)
            bad += 1
    print(f"{len(chosen) - bad} of {len(chosen)} variants apply")
    return int(bad > 0)


def run_all(options, chosen):
    begin = time.monotonic()
    build = catchers.Build(options.build.resolve())
    programs = sorted({name for variant in chosen for name in programs_of(variant, options)})
    build.make(programs)
    print(f"built in {time.monotonic() - begin:.0f} s", flush=True)
    wrong = None if options.only else unbroken_fails(build, programs, options.unbroken)
    if wrong:
        print(wrong)
        return 1
    results = []
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = pool.map(lambda one: outcome(build, one, programs_of(one, options)), chosen)
        for variant, (caught, wrong) in zip(chosen, outcomes):
            results.append((variant, caught, wrong))
            print(row(variant, caught, wrong), flush=True)
    if options.table:
        table_write(options.table, results)
    caught = [result[1] for result in results if result[1]]
    by_sim = sum(one.program == catchers.SIM for one in caught)
    print(f"{len(results)} variants, {len(caught)} caught ({by_sim} by the simulator), "
          f"{len(results) - len(caught)} survive, {time.monotonic() - begin:.0f} s")
    return int(len(caught) < len(results))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=variants.TOP / "build-mutants")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="those marked quick")
    parser.add_argument("--with", nargs="+", metavar="PROGRAM", dest="programs",
                        help="one of these must catch it, instead of the simulator or those it names")
    parser.add_argument("--unbroken", type=int, default=20, metavar="SEEDS", help="of the code as it is, first")
    parser.add_argument("--table", type=Path, metavar="FILE", help="writes the table of docs/TESTING.md")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    try:
        chosen = choose(options)
        if options.list:
            for variant in chosen:
                print(f"{variant.name:36} {variant.fields['breaks']}")
            return 0
        if options.check:
            return check(chosen)
        return run_all(options, chosen)
    except variants.VariantError as error:
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
