"""Contract section 3: drax-cli, as a shell user and a script see it: outputs, escapes, exit codes,
JSON, endpoints."""

import base64
import json
import os
import re
import subprocess
import time
import unittest

import zmq

from harness import CLI, EmptyServerTestCase, cli_run, environment, ports_find
from wire import key_bytes, pair_keys

OK, NO, EX_USAGE, EX_UNAVAILABLE, EX_TIMEOUT, EX_CONFIG = 0, 1, 64, 69, 75, 78
RUN_TIMEOUT_S = 60


class CliTest(EmptyServerTestCase):
    def cli(self, *arguments, stdin=b"", env=None, endpoints=True, code=OK):
        """Run to the end, check the exit code and the rules that hold always; stdout."""
        if env is None and endpoints:
            env = {"DRAX_ENDPOINTS": self.server.addr}
        ended, out, err = cli_run(*arguments, env=env, stdin=stdin)
        self.assertEqual(ended, code, (arguments, out[:200], err))
        if code == OK and not {"import", "export"} & set(arguments):  # these say what they did
            self.assertEqual(err, "", arguments)
        elif code != EX_USAGE and "exists" not in arguments and code != OK:
            self.assertEqual(len(err.splitlines()), 1, err)
        return out

    def json(self, *arguments, **options):
        return [json.loads(line) for line in self.cli("-o", "json", *arguments, **options).splitlines()]


class Plain(CliTest):
    def test_put_and_get(self):
        index = int(self.cli("put", "k", "hello"))
        self.assertEqual(self.c.call("get", "k")["index"], index)
        self.assertEqual(self.c.call("get", "k")["value"], b"hello")
        self.assertEqual(self.cli("put", "k", "again"), b"%d\n" % (index + 1))
        self.assertEqual(self.cli("get", "k"), b"again\n")
        self.assertEqual(self.cli("get", "k", "--index"), b"%d\tagain\n" % (index + 1))
        self.assertEqual(self.cli("get", "--index", "k"), b"%d\tagain\n" % (index + 1))

    def test_values_come_as_they_are(self):
        for value in ("", "two words", "\u20ac", "tab\there", "line\nline\n", "back\\slash"):
            self.cli("put", "raw", value)
            self.assertEqual(self.cli("get", "raw"), value.encode() + b"\n")
        self.c.call("put", "raw", b"\x00\xff\xfe\n")
        self.assertEqual(self.cli("get", "raw"), b"\x00\xff\xfe\n\n")

    def test_a_value_from_standard_input(self):
        for value in (b"", b"line\n", b"\x00\xff\n\n", b"x" * 1000000, b"-"):
            self.cli("put", "in", "-", stdin=value)
            self.assertEqual(self.c.call("get", "in")["value"], value)

    def test_put_with_ttl(self):
        self.cli("put", "k", "v", "--ttl", "10s")
        remaining = self.c.call("get", "k")["ttl_ms"]
        self.assertTrue(5000 < remaining <= 10000, remaining)
        self.cli("put", "k", "v")
        self.assertNotIn("ttl_ms", self.c.call("get", "k"))

    def test_del(self):
        self.cli("put", "k", "v")
        self.assertEqual(self.cli("del", "k"), b"")
        self.assertEqual(self.cli("del", "k", code=NO), b"")
        self.assertFalse(self.c.call("exists", "k")["exists"])

    def test_rmtree(self):
        for key in ("d", "d/a", "d/b/c", "d0"):
            self.c.call("put", key, "v")
        self.assertEqual(self.cli("rmtree", "d"), b"2\n")
        self.assertEqual(pair_keys(self.c.call("list", "")), [b"d", b"d0"])
        self.assertEqual(self.cli("rmtree", "d", code=NO), b"")

    def test_exists(self):
        self.c.call("put", "k", "v")
        self.assertEqual(self.cli("exists", "k"), b"true\n")
        self.assertEqual(self.cli("exists", "none", code=NO), b"false\n")

    def test_missing(self):
        self.assertEqual(self.cli("get", "none", code=NO), b"")
        self.assertEqual(self.cli("ls", "none", code=NO), b"")

    def test_ls(self):
        for key in ("d/b", "d/a", "d/a/x", "e", "d"):
            self.c.call("put", key, "v " + key)
        self.assertEqual(self.cli("ls", "d"), b"d/a\tv d/a\nd/a/x\tv d/a/x\nd/b\tv d/b\n")
        self.assertEqual(self.cli("ls", "d/", "--keys"), b"d/a\nd/a/x\nd/b\n")
        self.assertEqual(self.cli("ls", "d", "--limit", "2", "--keys"), b"d/a\nd/a/x\n")
        self.assertEqual(self.cli("ls", "--keys"), b"d\nd/a\nd/a/x\nd/b\ne\n")
        self.assertEqual(self.cli("ls", "e"), b"")

    def test_ls_goes_through_all_pages(self):
        names = [f"big/{i}" for i in range(9)]
        for name in names:
            self.c.call("put", name, b"x" * 400000)
        lines = self.cli("ls", "big").splitlines()
        self.assertEqual([line.split(b"\t")[0].decode() for line in lines], names)
        self.assertTrue(all(len(line.split(b"\t")[1]) == 400000 for line in lines))
        self.assertEqual(self.cli("ls", "big", "--keys", "--limit", "5").decode().split(), names[:5])
        self.assertEqual(len(self.cli("ls", "big", "--limit", "8").splitlines()), 8)

    def test_escapes_in_lines_with_tabs(self):
        self.c.call("put", "d/t\tn\nb\\", "v\tw\nx\\y")
        self.c.call("put", b"d/\xff\x80", b"\xe2\x82 ok \xe2\x82\xac\xfe")
        expected = [rb"d/t\tn\nb\\" + b"\t" + rb"v\tw\nx\\y",
                    rb"d/\xFF\x80" + b"\t" + rb"\xE2\x82 ok " + "\u20ac".encode() + rb"\xFE"]
        got = self.cli("ls", "d").splitlines()
        self.assertEqual(self.hex_upper(got), self.hex_upper(expected))
        self.c.call("put", "k", b"a\tb\n\\\xff")
        line = self.cli("get", "k", "--index").rstrip(b"\n").split(b"\t")
        self.assertEqual(self.hex_upper(line[1:]), [rb"a\tb\n\\\xFF"])

    @staticmethod
    def hex_upper(lines):
        """\\xff and \\xFF are the same escape."""
        return [re.sub(rb"\\x[0-9a-fA-F]{2}", lambda m: b"\\x" + m[0][2:].upper(), line) for line in lines]

    def test_cas(self):
        made = int(self.cli("cas", "k", "v", "--create"))
        self.assertEqual(self.c.call("get", "k")["index"], made)
        self.assertEqual(self.cli("cas", "k", "w", "--create", code=NO), b"")
        self.assertEqual(int(self.cli("cas", "k", "w", "--index", str(made))), made + 1)
        self.assertEqual(self.cli("cas", "k", "x", "--index", str(made), code=NO), b"")
        self.assertEqual(self.cli("get", "k"), b"w\n")
        self.assertEqual(self.cli("cas", "none", "x", "--index", "1", code=NO), b"")

    def test_cas_from_standard_input(self):
        self.cli("cas", "k", "-", "--create", stdin=b"from stdin")
        self.assertEqual(self.c.call("get", "k")["value"], b"from stdin")

    def test_cad(self):
        index = int(self.cli("put", "k", "v"))
        self.assertEqual(self.cli("cad", "k", "--index", str(index + 1), code=NO), b"")
        self.assertEqual(self.cli("cad", "k", "--index", str(index)), b"")
        self.assertEqual(self.cli("cad", "k", "--index", str(index), code=NO), b"")

    def test_words_that_look_like_options(self):
        self.cli("put", "--", "-k", "-v")
        self.assertEqual(self.c.call("get", "-k")["value"], b"-v")
        self.assertEqual(self.cli("get", "--", "-k"), b"-v\n")

    def test_member_list_leader_and_status(self):
        status = self.c.call("status")
        self.assertIn(self.server.addr.encode(), self.cli("member", "list"))
        self.assertIn(str(status["leader"]).encode(), self.cli("leader"))
        self.assertIn(self.server.addr.encode(), self.cli("status"))
        table = self.cli("-o", "table", "status")
        self.assertIn(self.server.addr.encode(), table)
        self.assertIn(b"leader", table.lower())
        self.assertGreater(len(table.splitlines()), 1)


class Json(CliTest):
    def test_result_maps(self):
        put, = self.json("put", "k", "v")
        self.assertEqual(put, {"index": put["index"], "revision": put["index"]})
        self.assertEqual(self.json("get", "k"), [{"key": "k", "value": "v", "index": put["index"],
                                                  "revision": put["revision"]}])
        self.assertEqual(self.json("exists", "k"), [{"exists": True, "revision": put["revision"]}])
        cas, = self.json("cas", "k", "w", "--index", str(put["index"]))
        self.assertEqual(cas, {"key": "k", "value": "w", "index": put["index"] + 1, "revision": put["index"] + 1})
        self.assertEqual(self.json("cad", "k", "--index", str(cas["index"])), [{"revision": cas["index"] + 1}])
        self.cli("put", "k", "v")
        self.assertEqual(self.json("del", "k"), [{"revision": cas["index"] + 3}])
        self.cli("put", "d/a", "v")
        self.assertEqual(self.json("rmtree", "d"), [{"deleted": 1, "revision": cas["index"] + 5}])

    def test_exists_false(self):
        line, = self.json("exists", "none", code=NO)
        self.assertIs(line["exists"], False)

    def test_ls_all_pages(self):
        for i in range(6):
            self.c.call("put", f"big/{i}", b"x" * 400000)
        pages = self.json("ls", "big")
        pairs = [pair for page in pages for pair in page["pairs"]]
        self.assertEqual([(p["key"], len(p["value"])) for p in pairs], [(f"big/{i}", 400000) for i in range(6)])
        self.assertTrue(all(isinstance(p["index"], int) for p in pairs))
        self.assertIs(pages[-1]["more"], False)

    def test_what_is_not_utf8_is_base64(self):
        for data in (b"\xff\x00", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x82"):
            self.c.call("put", "b64", data)
            got, = self.json("get", "b64")
            self.assertEqual(got["value"], {"base64": base64.b64encode(data).decode()})
        self.c.call("put", b"d/\xff", "v")
        page, = self.json("ls", "d")
        self.assertEqual(page["pairs"][0]["key"], {"base64": base64.b64encode(b"d/\xff").decode()})

    def test_strings_of_every_kind(self):
        for text in ("", "\u20ac\U0001f600", "\x00\x01\x1f", "\"quoted\" \\ / \b\f\n\r\t", "\u2028\x7f"):
            self.c.call("put", "text", text)
            self.assertEqual(self.json("get", "text")[0]["value"], text)

    def test_status_and_members(self):
        status, = self.json("status")
        self.assertLessEqual({"cluster", "node", "role", "leader", "term", "revision", "members"}, set(status))
        self.assertEqual(status["members"], self.c.call("status")["members"])
        self.assertEqual(self.json("member", "list")[0]["members"], status["members"])

    def test_the_flag_in_every_form(self):
        self.cli("put", "k", "v")
        for form in (["-o", "json"], ["-ojson"]):
            self.assertEqual(json.loads(self.cli(*form, "get", "k"))["value"], "v")


class ExitCodes(CliTest):
    def test_usage(self):
        for arguments in ([], ["nope"], ["get"], ["get", "a", "b"], ["put", "k"], ["put", "k", "v", "w"], ["cas", "k", "v"],
                          ["cas", "k", "v", "--create", "--index", "1"], ["cas", "k", "v", "--index", "x"],
                          ["cas", "k", "v", "--index", "0"], ["cad", "k"], ["get", "k", "--nope"], ["--nope", "get", "k"],
                          ["-o", "xml", "get", "k"], ["--timeout", "soon", "get", "k"], ["--timeout", "-1s", "get", "k"],
                          ["put", "k", "v", "--ttl", "x"], ["put", "k", "v", "--ttl", "0s"], ["ls", "--limit", "x"],
                          ["ls", "--limit", "-1"], ["member", "nope"], ["member"], ["--endpoints", "nonsense", "get", "k"],
                          ["--endpoints", "", "get", "k"], ["rmtree"], ["exists"], ["del"]):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.cli(*arguments, code=EX_USAGE), b"")
        self.fails("KEY_NOT_FOUND", self.c.call, "list", "")

    def test_help_and_version(self):
        self.assertIn(b"drax-cli", self.cli("--help").split(b"\n")[0])
        self.assertIn(b"drax-cli", self.cli("--version").split(b"\n")[0])

    def test_bad_environment(self):
        self.cli("get", "k", env={"DRAX_ENDPOINTS": "nonsense"}, code=EX_CONFIG)

    def test_unavailable(self):
        port, = ports_find(1)
        for command in (["get", "k"], ["put", "k", "v"], ["status"], ["ls"]):
            begin = time.monotonic()
            self.cli("--endpoints", f"127.0.0.1:{port}", "--timeout", "1s", *command, endpoints=False,
                     code=EX_UNAVAILABLE)
            self.assertLess(time.monotonic() - begin, 5)

    def test_timed_out_with_the_outcome_unknown(self):
        """A server that takes requests and never answers."""
        silent = zmq.Context.instance().socket(zmq.ROUTER)
        self.addCleanup(silent.close, 0)
        port = silent.bind_to_random_port("tcp://127.0.0.1")
        self.cli("--endpoints", f"127.0.0.1:{port}", "--timeout", "1s", "put", "k", "v", endpoints=False,
                 code=EX_TIMEOUT)
        self.assertTrue(silent.poll(0), "the request never arrived")

    def test_key_too_long_is_the_users_fault(self):
        self.cli("put", "k" * 4097, "v", code=EX_USAGE)

    def test_output_that_cannot_be_written(self):
        self.c.call("put", "k", b"x" * 100000)
        with open("/dev/full", "wb") as full:
            done = subprocess.run([CLI, "get", "k"], stdout=full, stderr=subprocess.PIPE, check=False,
                                  env=environment({"DRAX_ENDPOINTS": self.server.addr}), timeout=RUN_TIMEOUT_S)
        self.assertNotEqual(done.returncode, 0)


class Endpoints(CliTest):
    def test_the_flag_and_the_environment(self):
        self.cli("--endpoints", self.server.addr, "put", "k", "v", endpoints=False)
        self.cli("--endpoints", self.server.addr, "get", "k", env={"DRAX_ENDPOINTS": "127.0.0.1:9"})
        self.cli("get", "k", env={"DRAX_ENDPOINTS": f"127.0.0.1:9,{self.server.addr}"})

    def test_a_dead_one_is_skipped(self):
        dead, = ports_find(1)
        for endpoints in (f"127.0.0.1:{dead},{self.server.addr}", f"{self.server.addr},127.0.0.1:{dead}"):
            for command in (["put", "k", "v"], ["get", "k"], ["status"]):
                begin = time.monotonic()
                self.cli("--endpoints", endpoints, *command, endpoints=False)
                self.assertLess(time.monotonic() - begin, 5)

    def test_a_silent_one_is_skipped(self):
        silent = zmq.Context.instance().socket(zmq.ROUTER)
        self.addCleanup(silent.close, 0)
        port = silent.bind_to_random_port("tcp://127.0.0.1")
        self.c.call("put", "k", "v")
        out = self.cli("--endpoints", f"127.0.0.1:{port},{self.server.addr}", "--timeout", "10s", "get", "k",
                       endpoints=False)
        self.assertEqual(out, b"v\n")


class Transfer(CliTest):
    DATA = {b"a": b"1", b"dir/b": b"", b"dir/\xff\xfe": b"\x00\xff", "dir/\u20ac".encode(): "\u20ac".encode(),
            b"tab\t\n\\": b"tab\t\n\\\"", b"zz": b"x" * 100000}

    def test_export_and_import(self):
        for key, value in self.DATA.items():
            self.c.call("put", key, value)
        first = self.cli("export")
        lines = [json.loads(line) for line in first.splitlines()]
        self.assertEqual(len(lines), len(self.DATA))
        other = self.node("other")
        path = os.path.join(self.directory(), "dump")
        with open(path, "wb") as file:
            file.write(first)
        self.cli("import", path, env={"DRAX_ENDPOINTS": other.addr})
        pairs = other.call("range", b"\0", "")["pairs"]
        self.assertEqual({key_bytes(p["key"]): p["value"] for p in pairs}, self.DATA)
        self.assertEqual([json.loads(line)["key"] for line in
                          self.cli("export", env={"DRAX_ENDPOINTS": other.addr}).splitlines()],
                         [line["key"] for line in lines])

    def test_import_from_standard_input(self):
        lines = [{"key": f"in/{i}", "value": f"v{i}"} for i in range(3000)]
        lines.append({"key": {"base64": base64.b64encode(b"in/\xff").decode()}, "value": {"base64": "AP8="}})
        self.cli("import", "-", stdin=b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        self.assertEqual(self.c.call("range", "in/", "in0")["count"], 3001)
        self.assertEqual(self.c.call("get", b"in/\xff")["value"], b"\x00\xff")
        self.assertEqual(self.c.call("get", "in/2999")["value"], b"v2999")

    def test_export_of_a_directory(self):
        for key, value in self.DATA.items():
            self.c.call("put", key, value)
        keys = [json.loads(line)["key"] for line in self.cli("export", "dir").splitlines()]
        self.assertEqual(len(keys), 3)

    def test_bad_lines(self):
        for text in (b"nonsense\n", b"{}\n", b"[]\n", b'{"key": 5, "value": "v"}\n', b'{"key": "k"}\n',
                     b'{"key": "k", "value": {"base64": "*"}}\n'):
            with self.subTest(text=text):
                done = subprocess.run([CLI, "import", "-"], input=text, capture_output=True, check=False,
                                      timeout=RUN_TIMEOUT_S, env=environment({"DRAX_ENDPOINTS": self.server.addr}))
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(b"line 1", done.stderr.splitlines()[-1])
                self.assertEqual(len([line for line in done.stderr.splitlines()
                                      if line.startswith(b"drax-cli:")]), 1, done.stderr)


if __name__ == "__main__":
    unittest.main()
