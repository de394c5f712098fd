"""The README's transcript and its Python client, run as they stand there: what they print is what it says."""

import pathlib
import re
import subprocess
import unittest

from harness import BIN, DraxTestCase, environment

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
README_ADDR = "127.0.0.1:2380"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


class Readme(DraxTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.class_node()

    def shell(self, script):
        path = f"{BIN}:/usr/bin:/bin"
        done = subprocess.run(["/bin/sh", "-c", script.replace(README_ADDR, self.server.addr)],
                              env=environment({"PATH": path}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=60, check=False)
        return done.stdout.decode()

    def test_transcript_then_python(self):
        (transcript,) = blocks("console")
        exports = ""
        commands = 0
        for step in re.split(r"^\$ ", transcript, flags=re.M)[1:]:
            command, expected = step.split("\n", 1)
            if command.startswith("export "):
                exports += command + "\n"
                continue
            self.assertEqual(self.shell(exports + command), expected, command)
            commands += 1
        self.assertGreaterEqual(commands, 8)
        (program,) = blocks("python")
        self.assertEqual(program.count("\n"), 5, "the five-line client")
        promised = re.search(r"It prints `(.*?)`", README.read_text(encoding="utf-8")).group(1)
        program = program.replace(README_ADDR, self.server.addr)
        done = subprocess.run(["/usr/bin/python3", "-c", program], capture_output=True, timeout=60, check=True)
        self.assertEqual(done.stdout.decode().strip(), promised)


if __name__ == "__main__":
    unittest.main()
