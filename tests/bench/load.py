"""Programs that put load on a store, run by the benchmarks of this folder."""

import json
import resource
import subprocess

from harness import CLI, environment

RUN_TIMEOUT_S = 500


def program(argv, timeout=RUN_TIMEOUT_S, **options):
    """What it printed and the processor seconds it took; AssertionError when it failed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(argv, capture_output=True, timeout=timeout, check=False, **options)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"not within {timeout} s: {' '.join(argv)}") from None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}: {done.stdout[:500]} {done.stderr[:500]}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def bench(endpoints, workload, timeout=RUN_TIMEOUT_S, **flags):
    """The JSON of one run of drax-cli bench, and `client_cpu_s`; AssertionError when anything in it failed.
    `key_size=16` is `--key-size 16`, `prefill=True` a flag without a value."""
    argv = [CLI, "--endpoints", endpoints, "--timeout", "30s", "-o", "json", "bench", workload]
    for name, value in flags.items():
        argv.append("--" + name.replace("_", "-"))
        if value is not True:
            argv.append(str(value))
    text, cpu_s = program(argv, timeout, env=environment())
    return {**json.loads(text), "client_cpu_s": cpu_s}
