# SPDX-License-Identifier: GPL-2.0-or-later
"""This controller: the code of the daemon without the tracker (userspace/bench)."""
import json
import pathlib
import shutil
import subprocess

import process

PROGRAM = None      # path of vmreplica-bench, set by tools/bench


class Replica:
    """A receiver with its store, to which passes are sent."""

    def __init__(self, root, host="127.0.0.1", prefix_send=(), prefix_receive=()):
        self.root, self.host = pathlib.Path(root), host
        self.prefix = list(prefix_send)
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        self.port = process.free_port()
        self.server = process.Process(
            [*prefix_receive, PROGRAM, "receive", "--root", self.root, "--port", self.port,
             "--address", host], stdout=subprocess.PIPE)
        if self.server.popen.stdout.readline() != b"ready\n":
            raise process.Failed("the receiver did not start: see /tmp/vmreplica-bench.log")

    def send(self, disk, *options):
        """Sends one pass, or several; the figures of both sides."""
        before = self.server.cpu()
        done = subprocess.run(
            [*self.prefix, PROGRAM, "send", "--disk", disk, "--to", f"{self.host}:{self.port}",
             *map(str, options)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise process.Failed(done.stderr.strip())
        sent = json.loads(done.stdout)
        return {
            "seconds": sent["seconds"],
            "cpu_send": sent["cpu_seconds"],
            "cpu_receive": self.server.cpu() - before,
            "wire_bytes": sent["wire_bytes"],
            "data_bytes": sent["disk_bytes"] - sent["zero_bytes"],
            "rss_send": sent["peak_rss_bytes"],
            "rss_receive": self.server.peak_rss(),
            "latencies": sent["latencies"],
        }

    def base(self, vm="bench"):
        return self.root / vm / "disk" / "base.raw"

    def end(self, keep=False):
        self.server.end()
        self.server.popen.stdout.close()
        if not keep:
            shutil.rmtree(self.root, ignore_errors=True)


def limit(what, *paths):
    """Bytes a second of what the machine can do at most."""
    done = subprocess.run([PROGRAM, "limit", what, *map(str, paths)], stdout=subprocess.PIPE,
                          check=True, text=True)
    return json.loads(done.stdout)["bytes_per_second"]


def initial(source, target, compress, verify=False):
    replica = Replica(target)
    try:
        figures = replica.send(source, "--compress", compress)
        if verify and subprocess.run(["cmp", "-s", source, replica.base()]).returncode:
            raise process.Failed("what arrived is not what was sent")
    finally:
        replica.end()
    return figures
