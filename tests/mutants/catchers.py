"""catchers.py: the programs that may catch a variant: how a broken one is made, run, and what it says.

One build of the unchanged sources serves all variants: a variant's files are compiled by the commands of that
build, and linked before its libraries, so that the linker never takes the originals. The sources are not touched."""
import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

from variant import TOP, VariantError

# A run that takes longer has hung. That is no catch: whatever can hang has to be noticed by a check.
RUN_SECONDS = 300

SIM = "drax_sim"


@dataclass
class Caught:
    program: str
    check: str
    seeds: int  # tried until then; 0 for a program without
    seconds: float


# What a program says when it notices something: the check, and the seed where there is one.
FAILED_SEED = re.compile(r"^FAILED seed (?P<seed>\d+): (?P<check>[^:]+)")
RANDOM_SEED = re.compile(r"^seed (?P<seed>\d+): (?P<check>.+)")
ASSERTION = re.compile(r": Assertion `(?P<check>.*)' failed")
CMOCKA = re.compile(r"^\[  FAILED  \] (?P<check>\w+)$")
SCENARIO = re.compile(r"scenarios/(?P<check>\w+)\.txt:\d+: ")
PATTERNS = (FAILED_SEED, RANDOM_SEED, ASSERTION, CMOCKA, SCENARIO)
SEED_ALONE = re.compile(r"^(?:FAILED )?seed (?P<seed>\d+)\b")


def ninja_path(program):
    if program == SIM:
        return "tests/sim/drax_sim"
    if program.startswith("test_sim_"):
        return f"tests/sim/{program}"
    return f"tests/{'raft' if program.startswith('test_raft') and program != 'test_raft_actor' else 'unit'}/{program}"


def arguments(program, seeds, first):
    if program == SIM:
        return ["--seeds", str(first), str(seeds), "--no-shrink"]
    if program == "test_raft_random":
        return [str(10 * seeds), "1"]
    if program == "test_raft_scenarios":
        return [str(path) for path in sorted((TOP / "tests/raft/scenarios").glob("*.txt"))]
    return []


class Build:
    """The optimized build of the sources as they are, and programs made from it."""

    def __init__(self, folder):
        self.folder = folder
        self.compile = {}
        self.links = {}

    def make(self, programs):
        options = ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DDRAX_TESTS=ON", "-DDRAX_SANITIZE=OFF"]
        run = lambda *words: subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        run("cmake", "-G", "Ninja", "-S", str(TOP), "-B", str(self.folder), *options)
        run("ninja", "-C", str(self.folder), *(ninja_path(program) for program in programs))
        for entry in json.loads((self.folder / "compile_commands.json").read_text()):
            self.compile[os.path.relpath(entry["file"], TOP)] = shlex.split(entry["command"])
        for program in programs:
            commands = subprocess.run(["ninja", "-C", str(self.folder), "-t", "commands", ninja_path(program)],
                                      check=True, stdout=subprocess.PIPE, text=True).stdout
            link = shlex.split(commands.strip().splitlines()[-1])
            self.links[program] = link[link.index("&&") + 1:len(link) - link[::-1].index("&&") - 1]

    def tool(self, variant, words):
        result = subprocess.run(words, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if result.returncode:
            lines = result.stdout.splitlines()[:4]
            raise VariantError(f"{variant.name}: does not compile\n  " + "\n  ".join(lines))

    def objects(self, variant, place):
        """Compiles what the variant changes. Warnings are not errors: broken code may leave things unused."""
        out = []
        for file, text in variant.broken().items():
            if file not in self.compile:
                raise VariantError(f"{variant.name}: {file} is not compiled for itself")
            source = place / file
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_text(text)
            words = list(self.compile[file])
            words[words.index("-o") + 1] = str(source) + ".o"
            words[words.index("-c") + 1] = str(source)
            self.tool(variant, words + ["-w"])
            out.append(str(source) + ".o")
        return out

    def program(self, variant, program, objects, place):
        words = list(self.links[program])
        path = place / program
        at = words.index("-o")
        words[at + 1] = str(path)
        self.tool(variant, words[:at] + objects + words[at:])
        return path


def seed_of(program, number):
    return number if program in (SIM, "test_raft_random") else 0


def run(program, path, seeds, first=1):
    """Runs until something is noticed. Returns Caught, or None when nothing was; raises VariantError when the
    program ends in a way that no check explains."""
    begin = time.monotonic()
    check, seed, last = None, 0, []
    with tempfile.TemporaryDirectory(prefix="drax-mutants-") as folder:
        process = subprocess.Popen([str(path), *arguments(program, seeds, first)], cwd=folder, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
        hung = threading.Event()

        def stop():
            hung.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(RUN_SECONDS, stop)
        timer.start()
        try:
            for line in process.stdout:
                line = line.rstrip("\n")
                last = last[-4:] + [line]
                match = next((m for m in (p.search(line) for p in PATTERNS) if m), None)
                if match and not check:
                    check = match["check"].strip()
                    if "Assertion" in line:
                        check = f"assert({check})"
                alone = match if match and "seed" in match.groupdict() else SEED_ALONE.match(line)
                if alone and not seed:
                    seed = int(alone["seed"])
                if check and seed and program == SIM:
                    break  # the rest of the seeds tells nothing new
        finally:
            timer.cancel()
            if process.poll() is None and not hung.is_set() and check:
                os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
            process.stdout.close()
    if check:
        return Caught(program, check, seed_of(program, seed), time.monotonic() - begin)
    if hung.is_set():
        raise VariantError(f"{program} hangs for {RUN_SECONDS} s, and no check says so")
    if code:
        raise VariantError(f"{program} ended with {code}, and no check says why:\n  " + "\n  ".join(last))
    return None
