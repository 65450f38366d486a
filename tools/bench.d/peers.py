# SPDX-License-Identifier: GPL-2.0-or-later
"""Other programs that copy disks over TCP, each with both of its ends on this machine."""
import json
import pathlib
import shutil
import socket
import time

import process
from process import Process, free_port, serve, wire_bytes


def figures(start, wire, send, receive):
    """@send and @receive: (CPU seconds, peak memory) of each side."""
    return {
        "seconds": time.monotonic() - start,
        "cpu_send": send[0],
        "cpu_receive": receive[0],
        "wire_bytes": wire_bytes() - wire,
        "rss_send": send[1],
        "rss_receive": receive[1],
    }


def new_file(path, size):
    pathlib.Path(path).unlink(missing_ok=True)
    with open(path, "wb") as file:
        file.truncate(size)


def to_nbdkit(command_of, source, target):
    """Copies to nbdkit's file plugin by the client that command_of(uri) names."""
    port = free_port()
    new_file(target, pathlib.Path(source).stat().st_size)
    server = serve(["nbdkit", "-f", "-i", "127.0.0.1", "-p", port, "file", target], port)
    try:
        wire, start = wire_bytes(), time.monotonic()
        used = Process(command_of(f"nbd://127.0.0.1:{port}")).wait()
        return figures(start, wire, used, (server.cpu(), server.peak_rss()))
    finally:
        server.end()


def nbdcopy(source, target):
    return to_nbdkit(lambda uri: ["nbdcopy", "--flush", source, uri], source, target)


def qemu_img(source, target):
    return to_nbdkit(lambda uri: ["qemu-img", "convert", "-n", "-W", "-f", "raw", "-O", "raw",
                                  source, uri], source, target)


def rsync(source, target):
    """Over rsync's own protocol on TCP; --inplace, as a disk is too large for two."""
    port, folder = free_port(), pathlib.Path(target).parent
    config = folder / "rsyncd.conf"
    config.write_text(f"use chroot = no\n[disk]\npath = {folder}\nread only = no\nuid = 0\ngid = 0\n")
    server = serve(["rsync", "--daemon", "--no-detach", "--address=127.0.0.1", f"--port={port}",
                    f"--config={config}"], port)
    try:
        wire, start = wire_bytes(), time.monotonic()
        used = Process(["rsync", "--inplace", "--no-whole-file", "--ignore-times", source,
                        f"rsync://127.0.0.1:{port}/disk/{pathlib.Path(target).name}"]).wait()
        seconds = figures(start, wire, used, (0, 0))
        fields = pathlib.Path(f"/proc/{server.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
        seconds["cpu_receive"] = sum(map(int, fields[11:15])) / process.TICK
        return seconds
    finally:
        server.end()


def pipeline(source, target):
    """dd, lz4 and socat, and back: what a shell has at hand."""
    port = free_port()
    pathlib.Path(target).unlink(missing_ok=True)
    server = serve(["bash", "-c", f"socat -u TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr STDOUT "
                    f"| lz4 -dc | dd of={target} bs=1M iflag=fullblock conv=sparse,fsync"], port)
    wire, start = wire_bytes(), time.monotonic()
    used = Process(["bash", "-c", f"set -o pipefail; dd if={source} bs=1M | lz4 -1c "
                    f"| socat -u STDIN TCP:127.0.0.1:{port}"]).wait()
    other = server.wait()
    return figures(start, wire, used, other)


def stream(source, near, far, address):
    """One TCP connection as programs get it by default."""
    port = free_port()
    server = Process([*far, "socat", "-u", f"TCP-LISTEN:{port},reuseaddr", "OPEN:/dev/null"])
    time.sleep(1)       # it listens in a network whose table is not ours
    start = time.monotonic()
    used = Process([*near, "socat", "-b262144", "-u", f"OPEN:{source}",
                    f"TCP:{address}:{port}"]).wait()
    return {**figures(start, 0, used, server.wait()),
            "wire_bytes": pathlib.Path(source).stat().st_size}


def bdsync(source, target):
    """Against what is at @target, patched there; bdsync has no transport of its own."""
    start, patch = time.monotonic(), f"{target}.patch"
    used = Process(["bash", "-c", f"bdsync 'bdsync -s' {source} {target} > {patch} && "
                    f"bdsync -p {target} < {patch}"]).wait()
    size = pathlib.Path(patch).stat().st_size
    pathlib.Path(patch).unlink()
    return {"seconds": time.monotonic() - start, "cpu_send": used[0], "cpu_receive": 0,
            "wire_bytes": size, "rss_send": used[1], "rss_receive": 0}


class Qmp:
    """A session with qemu-storage-daemon."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.stream = self.socket.makefile("rw")
        self.stream.readline()
        self.call("qmp_capabilities")

    def line(self):
        return json.loads(self.stream.readline())

    def call(self, command, **arguments):
        self.stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.stream.flush()
        answer = self.line()
        while "event" in answer:
            answer = self.line()
        if "error" in answer:
            raise process.Failed(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    def concluded(self):
        """Waits for the end of the job that runs."""
        while True:
            event = self.line()
            if event.get("event") == "JOB_STATUS_CHANGE":
                if event["data"]["status"] == "aborting":
                    raise process.Failed("QEMU's backup failed")
                if event["data"]["status"] == "concluded":
                    return

    def close(self):
        self.stream.close()
        self.socket.close()


class QemuBitmap:
    """
    Incremental backups by a dirty bitmap: qemu-storage-daemon has the disk, and writes go
    through it; a second one has the target, a new qcow2 file, and exports it over TCP.
    """

    def __init__(self, image, folder):
        self.folder = pathlib.Path(folder)
        self.number = 0
        self.image = image
        self.path = self.folder / "qsd.sock"
        self.export = self.folder / "qsd-nbd.sock"
        for path in (self.path, self.export):
            path.unlink(missing_ok=True)
        self.daemon = Process([
            "qemu-storage-daemon",
            "--blockdev", f"driver=file,filename={image},node-name=file,aio=threads",
            "--blockdev", "driver=raw,file=file,node-name=disk",
            "--nbd-server", f"addr.type=unix,addr.path={self.export}",
            "--export", "type=nbd,id=e,node-name=disk,name=disk,writable=on",
            "--chardev", f"socket,id=q,path={self.path},server=on,wait=off",
            "--monitor", "chardev=q"])
        process.wait_for(self.path.exists, "qemu-storage-daemon")
        self.qmp = Qmp(self.path)

    def write(self, pieces, donor):
        """Writes through QEMU, which marks it."""
        chunk = self.folder / "pattern"
        with open(donor, "rb") as data:
            data.seek(1 << 20)
            chunk.write_bytes(data.read(pieces[0][1]))
        self.qmp.call("block-dirty-bitmap-add", node="disk", name=f"b{self.number}",
                      granularity=65536 if pieces[0][1] % 65536 == 0 else 4096)
        lines = "".join(f"write -q -s {chunk} {at} {size}\n" for at, size in pieces)
        script = self.folder / "writes"
        script.write_text(lines + "flush\n")
        with open(script, "rb") as commands:
            Process(["qemu-io", "-f", "raw", f"nbd+unix:///disk?socket={self.export}"],
                    stdin=commands).wait()

    def backup(self, size):
        port, target = free_port(), self.folder / "increment.qcow2"
        target.unlink(missing_ok=True)
        Process(["qemu-img", "create", "-q", "-f", "qcow2", target, str(size)]).wait()
        server = serve(["qemu-storage-daemon",
                        "--blockdev", f"driver=file,filename={target},node-name=file",
                        "--blockdev", "driver=qcow2,file=file,node-name=out",
                        "--nbd-server", f"addr.type=inet,addr.host=127.0.0.1,addr.port={port}",
                        "--export", "type=nbd,id=e,node-name=out,name=out,writable=on"], port)
        try:
            used, wire, start = self.daemon.cpu(), wire_bytes(), time.monotonic()
            self.qmp.call("blockdev-add", driver="nbd", export="out",
                          server={"type": "inet", "host": "127.0.0.1", "port": str(port)},
                          **{"node-name": "target"})
            self.qmp.call("blockdev-backup", device="disk", target="target", sync="incremental",
                          bitmap=f"b{self.number}",
                          **{"job-id": "j", "auto-dismiss": False})
            self.qmp.concluded()
            result = figures(start, wire, (self.daemon.cpu() - used, self.daemon.peak_rss()),
                             (server.cpu(), server.peak_rss()))
            self.qmp.call("job-dismiss", id="j")
            self.qmp.call("blockdev-del", **{"node-name": "target"})
            self.number += 1
            return result
        finally:
            server.end()
            target.unlink(missing_ok=True)

    def end(self):
        self.qmp.close()
        self.daemon.end()


def installed(program):
    return shutil.which(program) is not None
