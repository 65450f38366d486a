# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes, and what they took of the machine."""
import os
import pathlib
import socket
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A program did not do what it was to do."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wire_bytes():
    """What went over loopback so far; tools/bench has one of its own, when it can."""
    for line in pathlib.Path("/proc/net/dev").read_text().splitlines():
        if line.strip().startswith("lo:"):
            return int(line.split(":")[1].split()[0])
    return 0


class Process:
    """A program that runs beside; a list in one process group is ended together."""

    def __init__(self, command, **options):
        self.command = [str(word) for word in command]
        self.log = open("/tmp/vmreplica-bench.log", "ab")
        options.setdefault("stdout", self.log)
        options.setdefault("stdin", subprocess.DEVNULL)
        self.popen = subprocess.Popen(self.command, stderr=self.log, **options)
        self.usage = None

    def cpu(self):
        """Seconds so far, while it runs."""
        fields = pathlib.Path(f"/proc/{self.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def peak_rss(self):
        for line in pathlib.Path(f"/proc/{self.popen.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
        return 0

    def wait(self):
        """Its CPU seconds and peak memory, those of its children with it."""
        _, status, self.usage = os.wait4(self.popen.pid, 0)
        self.popen.returncode = os.waitstatus_to_exitcode(status)
        self.log.close()
        if self.popen.returncode:
            raise Failed(f"{' '.join(self.command)}: exit status {self.popen.returncode}, "
                         "see /tmp/vmreplica-bench.log")
        return self.usage.ru_utime + self.usage.ru_stime, self.usage.ru_maxrss << 10

    def end(self):
        """Ends it if it runs yet."""
        if self.popen.returncode is None:
            self.popen.terminate()
            try:
                self.popen.wait(20)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        self.log.close()


def wait_for(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"{what} did not come in {seconds} s")
        time.sleep(0.01)


def listens(port):
    """Whether a local process listens at @port; asks the kernel, not the process."""
    wanted = f":{port:04X} "
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if (fields[1] + " ").endswith(wanted) and fields[3] == "0A":
                return True
    return False


def serve(command, port, **options):
    """Starts a server and waits until it listens."""
    process = Process(command, **options)

    def ready():
        if process.popen.poll() is not None:
            raise Failed(f"{command[0]} ended: see /tmp/vmreplica-bench.log")
        return listens(port)

    wait_for(ready, f"{command[0]} at port {port}")
    return process
