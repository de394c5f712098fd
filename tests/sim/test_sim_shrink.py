"""A check that fails on purpose: the failure is told, shrunk, saved and replayed."""

import pathlib
import re
import subprocess
import sys
import tempfile


def run(program, *arguments):
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, check=False)


def main(program):
    with tempfile.TemporaryDirectory() as folder:
        saved = pathlib.Path(folder) / "schedule.txt"
        good = run(program, "--seed", "7")
        assert good.returncode == 0, good.stdout
        failed = run(program, "--seed", "7", "--break", "--save", str(saved))
        assert failed.returncode == 1, failed.stdout
        assert "FAILED seed 7: deliberate: " in failed.stdout, failed.stdout
        shrunk = re.search(r"shrunk from (\d+) faults to (\d+) in \d+ runs", failed.stdout)
        assert shrunk and int(shrunk[1]) > 0 and int(shrunk[2]) == 0, failed.stdout
        assert "VIOLATION deliberate" in failed.stdout, "no trace"
        assert saved.read_text(encoding="utf-8") in failed.stdout, "another schedule was saved than told"

        again = [run(program, "--replay", str(saved), "--break", "--no-shrink") for _ in range(2)]
        assert all(result.returncode == 1 for result in again)
        assert again[0].stdout == again[1].stdout and "hash " in again[0].stdout
        assert run(program, "--replay", str(saved)).returncode == 0, "without the broken check all is well"

        saved.write_text("seed 7\nfault 10 earthquake at 0 with 0 for 0 value 0\n", encoding="utf-8")
        bad = run(program, "--replay", str(saved))
        assert bad.returncode == 64 and "earthquake" in bad.stderr, bad.stderr


if __name__ == "__main__":
    main(sys.argv[1])
