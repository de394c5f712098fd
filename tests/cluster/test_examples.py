"""The examples that talk to a node from other languages do what they say."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import unittest

from harness import DraxTestCase, wait_until

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "examples"
TIMEOUT_S = 60


class Examples(DraxTestCase):
    def watch_check(self, *command, cwd=None):
        """Started on a directory with one key, it prints that, then each change."""
        node = self.node()
        client = self.client(node)
        client.call("put", "config/a", "1")
        client.call("put", "configuration", "beside")
        process = subprocess.Popen([*command, node.addr, "config"], cwd=cwd, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait, TIMEOUT_S)
        self.addCleanup(process.send_signal, signal.SIGKILL)
        lines = []
        threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True).start()
        wait_until(lambda: lines, TIMEOUT_S, "what is there")
        for i in range(100):  # more than a watch has credit for at first
            client.call("put", "config/b", str(i))
        client.call("delete", "config/a")
        wait_until(lambda: len(lines) >= 102, TIMEOUT_S, "every change")
        self.assertEqual(lines, ["current config/a 1\n", *[f"put config/b {i}\n" for i in range(100)],
                                 "delete config/a \n"])

    def test_python(self):
        self.watch_check(sys.executable, "-B", str(EXAMPLES / "watch.py"))

    def test_node(self):
        if not shutil.which("node") or not shutil.which("npm"):
            self.skipTest("node and npm are not installed (./run test installs them)")
        folder = self.directory()
        for name in ("package.json", "watch.js"):
            shutil.copy(EXAMPLES / name, folder)
        # The package brings its library built, so no script of a package is run.
        done = subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"],
                              cwd=folder, capture_output=True, text=True, timeout=300, check=False,
                              env=dict(os.environ, npm_config_update_notifier="false"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.watch_check("node", "watch.js", cwd=folder)


if __name__ == "__main__":
    unittest.main()
