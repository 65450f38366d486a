# SPDX-License-Identifier: GPL-2.0-or-later
"""Two networks of their own with a shaped link between them: needs root and sch_netem."""
import os
import subprocess

import process

NEAR_ADDRESS, FAR_ADDRESS = "192.0.2.1", "192.0.2.2"
DELAY_MS = 25       # each way
LOSS_PERCENT = 0.1


class Link:
    """@near and @far are what to put before a command to run it at that end."""

    def __init__(self, rate_mbit):
        self.bytes_per_second = rate_mbit * 1e6 / 8
        self.names = [f"vmreplica-{end}-{os.getpid()}" for end in ("near", "far")]
        self.near, self.far = (["ip", "netns", "exec", name] for name in self.names)
        try:
            for name in self.names:
                self.run("ip", "netns", "add", name)
            self.run("ip", "-n", self.names[0], "link", "add", "v0", "type", "veth",
                     "peer", "v0", "netns", self.names[1])
            for name, address in zip(self.names, (NEAR_ADDRESS, FAR_ADDRESS)):
                self.run("ip", "-n", name, "address", "add", f"{address}/30", "dev", "v0")
                self.run("ip", "-n", name, "link", "set", "v0", "up")
                self.run("ip", "-n", name, "link", "set", "lo", "up")
                self.run("tc", "-n", name, "qdisc", "add", "dev", "v0", "root", "netem",
                         "delay", f"{DELAY_MS}ms", "loss", f"{LOSS_PERCENT}%",
                         "rate", f"{rate_mbit}mbit", "limit", "50000")
        except process.Failed:
            self.end()
            raise

    @staticmethod
    def run(*command):
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise process.Failed(f"{' '.join(command)}: {done.stderr.strip()}")

    def end(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
