"""What `cmake --install` gives a programmer: shared libraries with a soname that export drax_ alone, headers for
C and C++, pkg-config files that lead to a program that runs; and that each example does what it says."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from harness import ports_find

SOURCE = pathlib.Path(os.environ["DRAX_SOURCE"])
BUILD = pathlib.Path(os.environ["DRAX_BUILD"])
FLAGS = os.environ["DRAX_CFLAGS"].split()  # the sanitizers of this build
VERSION_MAJOR = os.environ["DRAX_VERSION_MAJOR"]


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.top = pathlib.Path(tempfile.mkdtemp(prefix="drax-install-"))
        run("cmake", "--install", BUILD, "--prefix", cls.top / "usr")
        cls.lib = next(path.parent for path in cls.top.rglob("libdrax.so"))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.top)

    def flags(self, package, *which):
        environment = dict(os.environ, PKG_CONFIG_PATH=str(self.lib / "pkgconfig"))
        return run("pkg-config", *which, package, env=environment).split()

    def compiled(self, compiler, source, package):
        program = self.top / source.stem
        run(compiler, "-Wall", "-Wextra", "-Werror", *FLAGS, source, "-o", program,
            *self.flags(package, "--cflags", "--libs"), f"-Wl,-rpath,{self.lib}")
        return program

    def test_only_drax_symbols_are_exported(self):
        for name in ("libdrax.so", "libdrax_node.so"):
            symbols = [line.split()[-1] for line in run("nm", "-D", "--defined-only", self.lib / name).splitlines()]
            others = [symbol for symbol in symbols if not re.match(r"drax_[a-z_]+$", symbol)]
            self.assertEqual(others, [], name)
            self.assertGreater(len(symbols), 10)

    def test_every_declared_function_is_exported_and_no_other(self):
        for header, name in (("drax.h", "libdrax.so"), ("drax_node.h", "libdrax_node.so")):
            text = (SOURCE / "include" / header).read_text(encoding="utf-8")
            declared = set(re.findall(r"DRAX_API [^;(]*?(drax_[a-z_]+)\(", text))
            exported = {line.split()[-1] for line in run("nm", "-D", "--defined-only", self.lib / name).splitlines()}
            self.assertEqual(declared, exported)

    def test_sonames(self):
        for name in ("libdrax.so", "libdrax_node.so"):
            dynamic = run("readelf", "-d", self.lib / name)
            self.assertIn(f"Library soname: [{name}.{VERSION_MAJOR}]", dynamic)
        self.assertIn(f"[libdrax.so.{VERSION_MAJOR}]", run("readelf", "-d", self.lib / "libdrax_node.so"))

    def test_a_cpp_program(self):
        program = self.compiled("c++", SOURCE / "tests/embed/test_header_cpp.cpp", "drax_node")
        run(program, self.top / "cpp-home")

    def test_three_nodes(self):
        source = SOURCE / "docs/examples/three_nodes.c"
        self.assertLess(len(source.read_text(encoding="utf-8").splitlines()), 41)
        program = self.compiled("cc", source, "drax_node")
        for _ in range(2):  # the second time from the homes of the first
            self.assertEqual(run(program, self.top / "three"), "ok\n")

    def node(self):
        """A node of the build's draxd, and its address."""
        addr, raft_addr = (f"127.0.0.1:{port}" for port in ports_find(2))
        process = subprocess.Popen([BUILD / "bin" / "draxd", "--home", self.top / f"home-{addr}", "--addr", addr,
                                    "--raft-addr", raft_addr], stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait, 30)
        self.addCleanup(process.terminate)
        for line in process.stderr:
            if "ready" in line:
                return addr
        raise AssertionError("no node")

    def test_lock(self):
        addr = self.node()
        program = self.compiled("cc", SOURCE / "docs/examples/lock.c", "drax")
        running = [subprocess.Popen([program, addr], stdout=subprocess.PIPE, text=True) for _ in range(8)]
        counted = [process.communicate(timeout=60)[0] for process in running]
        self.assertEqual(sorted(counted), [f"{i}\n" for i in range(1, 9)])

    def test_worker(self):
        addr = self.node()
        program = self.compiled("cc", SOURCE / "docs/examples/worker.c", "drax")
        workers = []
        for name in "ab":
            workers.append(subprocess.Popen([program, addr, name], stdout=subprocess.PIPE, text=True))
            self.addCleanup(workers[-1].stdout.close)
            self.addCleanup(workers[-1].wait, 30)
            self.addCleanup(workers[-1].kill)
            if name == "a":
                self.assertIn("elected", workers[0].stdout.readline())
        cli = [BUILD / "bin" / "drax-cli", "--endpoints", addr, "get"]
        self.assertEqual(run(*cli, "worker"), "a\n")
        workers[0].kill()
        self.assertIn("elected", workers[1].stdout.readline())  # when the first one's time is over
        self.assertEqual(run(*cli, "worker"), "b\n")


if __name__ == "__main__":
    unittest.main()
