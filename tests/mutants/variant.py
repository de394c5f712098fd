"""variant.py: deliberately broken variants of the code, as data.

A file NAME.mutant holds one:

    breaks: what no longer holds, in one line
    rule: where it is promised (the dissertation's section, an invariant)       optional
    quick: yes          part of the ctest sim_mutants                            optional
    seeds: 500          how many the simulator may take, instead of SEEDS        optional
    unseen: why the simulator cannot see it, or hardly ever does                 optional, then
    by: test_journal_damage …      the programs one of which catches it          required
    file: store/journal.c
    old:
    |the lines as they stand,
    |each behind a bar
    new:
    |what stands there instead

`file`, `old` and `new` may be repeated, for a variant that breaks two places; several in one file follow
one another. Lines that begin with # are comments. The old text must be in the file exactly once."""
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
TOP = FOLDER.parent.parent
SEEDS = 600
WORDS = {"breaks", "rule", "quick", "seeds", "unseen", "by"}


class VariantError(Exception):
    """A variant that is no variant (any more)."""


@dataclass
class Variant:
    name: str
    fields: dict
    edits: list = field(default_factory=list)  # (file, old, new)

    @property
    def seeds(self):
        return int(self.fields.get("seeds", SEEDS))

    @property
    def quick(self):
        return self.fields.get("quick") == "yes"

    def programs(self):
        return self.fields.get("by", "").split()

    def broken(self):
        """{file: its text with the variant applied}"""
        texts = {}
        for file, old, new in self.edits:
            if file not in texts:
                if not (TOP / file).is_file():
                    raise VariantError(f"{self.name}: there is no {file}")
                texts[file] = (TOP / file).read_text()
            count = texts[file].count(old)
            if count != 1:
                raise VariantError(f"{self.name}: its old text is {count} times in {file}, not once:\n{old}")
            texts[file] = texts[file].replace(old, new)
        return texts


def block(lines, at):
    """The lines behind bars from `at` on, and where they end."""
    end = at
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    return "".join(line[1:] + "\n" for line in lines[at:end]), end


def load(path):
    variant = Variant(path.stem, {})
    lines = path.read_text().splitlines()
    file = old = None
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line.strip() or line.startswith("#"):
            continue
        word, colon, value = line.partition(":")
        value = value.strip()
        if not colon:
            raise VariantError(f"{path.name}: not understood: {line}")
        if word == "file":
            file = value
        elif word == "old":
            old, at = block(lines, at)
        elif word == "new" and file and old:
            new, at = block(lines, at)
            variant.edits.append((file, old, new))
            old = None
        elif word in WORDS and value:
            variant.fields[word] = value
        else:
            raise VariantError(f"{path.name}: not understood: {line}")
    if "breaks" not in variant.fields or not variant.edits or old:
        raise VariantError(f"{path.name}: something is missing: breaks, file, old or new")
    if ("unseen" in variant.fields) != ("by" in variant.fields):
        raise VariantError(f"{path.name}: `unseen` and `by` go together")
    return variant


def load_all():
    return [load(path) for path in sorted(FOLDER.glob("*.mutant"))]
