#!/usr/bin/env python3
"""libevgrpc as others would use it: installed, found by pkg-config, linked, and with only its own symbols."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import mr  # noqa: E402
import tap  # noqa: E402

HEADER = mr.SOURCE / "daemons/rpc/evgrpc.h"

PROGRAM = """
#include <evgrpc.h>
#include <stdio.h>

int main(void)
{
        struct event_base *base = event_base_new();
        EvgrpcChannel *channel = NULL;
        int r = evgrpc_channel_new(base, "no port", NULL, &channel);

        printf("%d %s\\n", r, evgrpc_code_to_string(EVGRPC_UNAVAILABLE));
        event_base_free(base);
        return 0;
}
"""

PROTO = mr.SOURCE / "examples/wordcount-rpc/wordcount.proto"

CPP_PROGRAM = """
#include <cstdio>
#include <cstdlib>
#include <evgrpc.h>
#include "wordcount.pb-c.h"

static void compute(EvgrpcServerCall *call, const ProtobufCMessage *message, void *)
{
        auto request = reinterpret_cast<const Wordcount__WordCountRequest *>(message);
        Wordcount__WordCountReply__CountsEntry entry = WORDCOUNT__WORD_COUNT_REPLY__COUNTS_ENTRY__INIT, *entries[] = {&entry};
        Wordcount__WordCountReply reply = WORDCOUNT__WORD_COUNT_REPLY__INIT;

        entry.key = request->input;
        entry.value = 1;
        reply.counts = entries;
        reply.n_counts = 1;
        evgrpc_server_call_reply(call, &reply.base);
}

int main()
{
        EvgrpcMethod methods[2] = {};
        struct event_base *base = event_base_new();
        EvgrpcServer *server = nullptr;
        EvgrpcChannel *channel = nullptr;
        EvgrpcCall *call = nullptr;
        char *bound = nullptr, text[] = "hello";
        Wordcount__WordCountRequest request = WORDCOUNT__WORD_COUNT_REQUEST__INIT;

        methods[0].name = "Compute";
        methods[0].handler = compute;
        request.input = text;
        if (evgrpc_server_new(base, nullptr, &server) < 0 ||
            evgrpc_server_add_service(server, &wordcount__word_count_server__descriptor, methods, nullptr) < 0 ||
            evgrpc_server_listen(server, "127.0.0.1:0", &bound) < 0 || evgrpc_channel_new(base, bound, nullptr, &channel) < 0 ||
            evgrpc_call_start(channel, &wordcount__word_count_server__descriptor, "Compute", &request.base, nullptr, nullptr,
                              nullptr, &call) < 0)
                return 1;
        const EvgrpcStatus *status = evgrpc_call_wait(call);
        auto reply = reinterpret_cast<const Wordcount__WordCountReply *>(evgrpc_call_reply(call));
        std::printf("%s %s\\n", evgrpc_code_to_string(status->code), reply ? reply->counts[0]->key : "");
        evgrpc_call_unref(call);
        evgrpc_channel_free(channel);
        evgrpc_server_free(server);
        event_base_free(base);
        std::free(bound);
        return 0;
}
"""


def declared():
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    return set(re.findall(r"\b(evgrpc_[a-z0-9_]+)\(", text))


@unittest.skipIf(mr.SANITIZED, "a sanitized library is not for others' programs")
class Library(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="mr-lib-"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def test_symbols(self):
        """exactly the functions of the header are exported, with the version of the map"""
        library = next(p for p in (mr.BUILD / "daemons/rpc").glob("libevgrpc.so.*.*") if p.is_file())
        out = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", library], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        exported = {row.split()[2] for row in out.splitlines() if row.split()[1] in "TDBR" and "EVGRPC" in row}
        exported -= {"EVGRPC_0.1"}
        self.assertEqual({e.split("@@")[0] for e in exported if not e.startswith("EVGRPC")}, declared())
        self.assertEqual({e.split("@@")[1] for e in exported if "@@" in e}, {"EVGRPC_0.1"})

    def test_a_stranger_builds_against_it(self):
        """a program of somebody else builds and runs with what was installed"""
        env = dict(os.environ, DESTDIR=str(self.dir))
        subprocess.run(["meson", "install", "-C", mr.BUILD, "--no-rebuild", "--quiet"], env=env, check=True,
                       stdout=subprocess.DEVNULL)
        flags = self.flags()
        self.in_c(flags)
        self.in_cpp(flags)

    def flags(self):
        pc = next(self.dir.rglob("libevgrpc.pc"))
        env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=str(self.dir))
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libevgrpc"], env=env, check=True,
                               stdout=subprocess.PIPE, text=True).stdout.split()
        # The dependencies live in the real root, not below DESTDIR.
        return [f.replace(f"-I{self.dir}/usr/include", "-I/usr/include") for f in flags]

    def run_program(self):
        libdir = next(self.dir.rglob("libevgrpc.so")).parent
        return subprocess.run([str(self.dir / "program")], env=dict(os.environ, LD_LIBRARY_PATH=str(libdir)), check=True,
                              stdout=subprocess.PIPE, text=True, timeout=60).stdout

    def in_c(self, flags):
        source = self.dir / "program.c"
        source.write_text(PROGRAM)
        subprocess.run(["cc", str(source), "-o", str(self.dir / "program"), *flags], check=True)
        self.assertEqual(self.run_program(), "-22 UNAVAILABLE\n")

    def in_cpp(self, flags):
        """C++ sees the header as C++17 with every warning on, serves a method and calls it"""
        source = self.dir / "program.cc"
        source.write_text(CPP_PROGRAM)
        subprocess.run(["protoc-c", f"--proto_path={PROTO.parent}", f"--c_out={self.dir}", str(PROTO)], check=True)
        subprocess.run(["cc", "-c", "-w", str(self.dir / "wordcount.pb-c.c"), "-o", str(self.dir / "wordcount.o"), *flags],
                       check=True)
        # What protoc-c generates is C; the warnings are for ours.
        (self.dir / "header.cc").write_text("#include <evgrpc.h>\n")
        warnings = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
        subprocess.run(["c++", *warnings, "-c", str(self.dir / "header.cc"), "-o", os.devnull, *flags], check=True)
        subprocess.run(["c++", *warnings, "-isystem", str(self.dir), str(source), str(self.dir / "wordcount.o"), "-o",
                        str(self.dir / "program"), *flags], check=True)
        self.assertEqual(self.run_program(), "OK hello\n")


tap.main()
