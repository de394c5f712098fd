"""drax-cli bench, run by the benchmarks of this folder."""

import json
import subprocess

from harness import CLI, environment

RUN_TIMEOUT_S = 500


def bench(endpoints, workload, **flags):
    """The JSON of one run; AssertionError when anything in it failed. `key_size=16` is `--key-size 16`,
    `prefill=True` a flag without a value."""
    argv = [CLI, "--endpoints", endpoints, "--timeout", "30s", "-o", "json", "bench", workload]
    for name, value in flags.items():
        argv.append("--" + name.replace("_", "-"))
        if value is not True:
            argv.append(str(value))
    done = subprocess.run(argv, env=environment(), capture_output=True, timeout=RUN_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}: {done.stdout[:500]} {done.stderr}")
    return json.loads(done.stdout)
