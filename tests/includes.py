"""Checks that includes go downward only (docs/HACKING.md, rule 1)."""

import pathlib
import re
import sys

# What each folder may include of the project. A longer prefix wins.
ALLOWED = {
    "broker/": ("broker/",),
    "store/": ("broker/", "store/"),
    "actors/raft/": ("actors/raft/", "broker/message.h", "broker/limits.h", "broker/error.h"),
    "actors/": ("actors/", "broker/", "store/"),
    "actors/node": ("actors/", "broker/", "drax"),
    "cli/": ("cli/", "drax.h", "broker/"),
    "include/": ("drax",),
}
# drax-cli itself sees what any user of the library sees.
CLI_PROGRAM = ("cli/bench", "cli/cmd_", "cli/drax_cli.c", "cli/pages.c", "cli/progress.c", "cli/interrupt.c",
               "cli/edit.c", "cli/words.c", "cli/format", "cli/histogram", "cli/json")


def allowed_for(name):
    if name.startswith(CLI_PROGRAM):
        return ("cli/", "drax")
    prefix = max((p for p in ALLOWED if name.startswith(p)), key=len)
    return ALLOWED[prefix]


def main(top):
    wrong = files = 0
    for folder in ("broker", "store", "actors", "cli", "include"):
        for path in sorted((top / folder).rglob("*.[ch]")):
            name = path.relative_to(top).as_posix()
            files += 1
            for included in re.findall(r'^#include "([^"]+)"', path.read_text(encoding="utf-8"), re.M):
                if not included.startswith(allowed_for(name)):
                    print(f"{name} must not include {included}")
                    wrong += 1
            if name.startswith("actors/raft/"):
                for system in re.findall(r"^#include <([^>]+)>", path.read_text(encoding="utf-8"), re.M):
                    if system not in ("assert.h", "stdbool.h", "stddef.h", "stdint.h", "stdlib.h", "string.h"):
                        print(f"{name} must not include <{system}>")
                        wrong += 1
    print(f"{files} files, {wrong} includes that go the wrong way")
    return 1 if wrong or files < 50 else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
