#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run by contract.sh, in the guest: a primary on the system's bus, a replica on one of its own.

Each function test_* is one result of the TAP output; a check that does not hold fails it, and the
tests after it go on. They run in the order in which they stand here, and use what those
before them left.
"""
import contextlib
import datetime
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

import dbus
import dbus.bus

SERVICE = "org.vmreplica"
ROOT = "/org/vmreplica"
OBJECT = ROOT + "/ReplicationService"
INTERFACE = "org.vmreplica.ReplicationService"
PORT, SILENT_PORT, CLOSED_PORT = 7801, 7802, 1
STATE = "/run/contract"
WORK = "/tmp/contract"
MIB = 1 << 20
here = os.path.dirname(os.path.abspath(__file__))
tree = os.path.dirname(os.path.dirname(here))
# Local time is not UTC, and summer never begins while this runs.
os.environ["TZ"] = "HERE-5:30"
time.tzset()
if os.environ.get("PROGRAMS"):
    os.environ["PATH"] = os.environ["PROGRAMS"] + ":" + os.environ["PATH"]

OK, STARTED = 0, 4096
(FAILED, DENIED, NOT_SUPPORTED, UNKNOWN, TIMEOUT, INVALID, IN_USE, WRONG_STATE, WRONG_TYPE,
 NOT_AVAILABLE, NO_MEMORY, NOT_FOUND) = range(32768, 32780)


# --- TAP -------------------------------------------------------------------------------

class NotSo(Exception):
    pass


def check(what, holds, *details):
    if not holds:
        raise NotSo(" ".join(map(str, (what, *details))))


def equal(what, expected, actual):
    check(what, expected == actual, f"- expected {expected!r}, got {actual!r}")


def until(what, seconds, condition):
    """Waits for a condition, never for a time; the limit is for a machine that is busy."""
    end = time.monotonic() + seconds
    while True:
        try:
            value = condition()
            if value:
                return value
        except dbus.DBusException:
            pass
        check(f"{what}, within {seconds} s", time.monotonic() < end)
        time.sleep(0.1)


# --- the two services --------------------------------------------------------------------

class Host:
    """One vmreplicad, and its bus as python3-dbus sees it."""

    def __init__(self, name, bus, address, *options, env=None):
        self.name, self.bus, self.address, self.options = name, bus, address, options
        self.env = env or {}
        self.process = None

    def start(self):
        log = open(f"{WORK}/{self.name}.log", "a")
        where = ["--bus", self.address] if self.address else []
        self.process = subprocess.Popen(["vmreplicad", *where, *self.options], stderr=log,
                                        env={**os.environ, **self.env})
        until(f"the {self.name} answers", 120, self.answers)

    def answers(self):
        check(f"the {self.name} has not ended", self.process.poll() is None, self.process.poll())
        return self.bus.call_blocking("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                      "GetConnectionUnixProcessID", "s", (SERVICE,)) == self.process.pid

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        status = self.process.wait()
        check(f"the {self.name} ends well", status in (0, -signal.SIGKILL), status)
        # The bus notices later, and would refuse the name to the next one.
        until(f"the {self.name} has left the bus", 120, lambda: not self.bus.name_has_owner(SERVICE))

    def call(self, method, signature, *args):
        return self.bus.call_blocking(SERVICE, OBJECT, INTERFACE, method, signature, args, timeout=200)

    def get(self, path, interface="Relationship"):
        got = self.bus.call_blocking(SERVICE, path, "org.freedesktop.DBus.Properties", "GetAll", "s",
                                     (f"org.vmreplica.{interface}",), timeout=200)
        return {str(key): value for key, value in got.items()}

    def objects(self):
        return self.bus.call_blocking(SERVICE, ROOT, "org.freedesktop.DBus.ObjectManager",
                                      "GetManagedObjects", "", (), timeout=200)

    def vm(self, name):
        """The properties of a relationship; None: there is none."""
        for path, interfaces in self.objects().items():
            r = interfaces.get("org.vmreplica.Relationship")
            if r and r["ComputerSystem"] == name:
                return {**r, "path": path}
        return None

    def cli(self, *args, status=0):
        where = ["--bus", self.address] if self.address else []
        done = subprocess.run(["vmreplica", *where, *args], capture_output=True, text=True, timeout=300)
        equal(f"status of vmreplica {' '.join(args)} ({done.stderr.strip()})", status, done.returncode)
        return done.stdout

    def cli_json(self, *args, status=0):
        return json.loads(self.cli(*args, "--json", status=status))


@contextlib.contextmanager
def stopped(host):
    """The host's service stands still meanwhile, and goes on whatever happens."""
    os.kill(host.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(host.process.pid, signal.SIGCONT)


def settings(**values):
    kinds = {"IncludedDisks": "as", "RecoveryServerPortNumber": "q", "ReplicationInterval": "u",
             "CompressionEnabled": "b", "MaximumRate": "t"}
    out = dbus.Dictionary({}, signature="sv")
    for key, value in values.items():
        kind = kinds.get(key)
        if isinstance(value, (dbus.UInt16, dbus.UInt32, dbus.UInt64, dbus.Boolean)):
            out[key] = value
        elif kind == "as":
            out[key] = dbus.Array(value, signature="s")
        else:
            out[key] = {"q": dbus.UInt16, "u": dbus.UInt32, "t": dbus.UInt64, "b": dbus.Boolean}.get(
                kind, dbus.String)(value)
    return out


def basic(disk, **more):
    return settings(**{"IncludedDisks": [disk], "RecoveryConnectionPoint": "127.0.0.1",
                       "RecoveryServerPortNumber": PORT, "ReplicationInterval": 3600, **more})


def answers(what, expected, reply):
    """The reply has this return value, a job exactly if it is 4096, and a sentence exactly if refused."""
    code, job, text = int(reply[0]), str(reply[1]), str(reply[-1])
    check(what, code == expected, f"- expected {expected}, got {code}: {text}")
    check(f"{what}: a job with 4096 only", (job != "/") == (code == STARTED), job)
    check(f"{what}: a sentence with a refusal only", bool(text) == (code not in (OK, STARTED)), text)
    return job


def ended(host, job):
    """Waits for the end of a job and returns its properties."""
    def look():
        properties = host.get(job, "Job")
        return properties if properties["JobState"] >= 7 else None
    return until(f"the end of {job}", 200, look)


def completes(what, host, reply):
    job = ended(host, answers(what, STARTED, reply))
    check(f"{what}: completes", job["JobState"] == 7, job["ErrorDescription"])
    equal(f"{what}: 100 %", 100, job["PercentComplete"])
    equal(f"{what}: no error", 0, job["ErrorCode"])
    return job


def create(vm, data):
    return p.call("CreateReplicationRelationship", "sa{sv}", vm, data)


def modify(vm, **values):
    return p.call("ModifyReplicationSettings", "sa{sv}", vm, settings(**values))


def reverse(host, vm):
    return host.call("ReverseReplicationRelationship", "sa{sv}", vm, settings())


def start(vm, kind=1, location="", at=""):
    return p.call("StartReplication", "sqss", vm, kind, location, at)


def request(vm, state, host=None):
    return (host or p).call("RequestReplicationStateChange", "sq", vm, state)


def replicate(vm):
    return p.call("Replicate", "s", vm)


def statistics(vm, host=None):
    reply = (host or p).call("GetReplicationStatistics", "s", vm)
    equal("statistics: the return value", OK, int(reply[0]))
    equal("statistics: one dictionary", 1, len(reply[2]))
    return reply[2][0]


def scribble(disk, mib_at, mib):
    subprocess.run(["dd", "if=/dev/urandom", f"of={disk}", "bs=1M", f"seek={mib_at}", f"count={mib}",
                    "oflag=direct", "conv=notrunc", "status=none"], check=True)


def same(vm, disk):
    points = r.cli_json("points", vm)["points"]
    done = subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", disk,
                           points[-1]["disks"][0]["file"]])
    equal(f"the newest point of {vm} is the disk", 0, done.returncode)


def idle(vm):
    return p.vm(vm)["Job"] == "/"


def in_turn(call, *args):
    """The reply to a call that a pass by itself may be in the way of: what failed is tried again and again."""
    return until("no other job works on it", 120, lambda: (reply := call(*args))[0] != IN_USE and reply)


# --- the interface ---------------------------------------------------------------------------

METHODS = {
    "CreateReplicationRelationship": "sa{sv}", "ModifyReplicationSettings": "sa{sv}",
    "ReverseReplicationRelationship": "sa{sv}", "RemoveReplicationRelationship": "sb",
    "StartReplication": "sqss", "ImportInitialReplica": "ss", "Resynchronize": "ss", "Replicate": "s",
    "VerifyReplica": "s", "RequestReplicationStateChange": "sq",
    "GetReplicationStatistics": "s", "ResetReplicationStatistics": "s",
    "TestReplicationConnection": "sqqsb", "CancelJob": "o", "GetRecoveryPoints": "s",
}


def test_introspection_shows_every_method():
    done = subprocess.run(["busctl", "--system", "introspect", SERVICE, OBJECT], capture_output=True,
                          text=True, check=True)
    found = {line.split()[0].lstrip("."): line.split()[2] for line in done.stdout.splitlines()
             if " method " in line}
    for name, signature in METHODS.items():
        equal(name, signature, found.get(name))


def test_settings_file_is_refused_by_line():
    for text, wanted in (("rate = 5M\n# x\n\nspeed = 1\n", ":4: there is no setting 'speed'"),
                         ("max-transfers = 0\n", ":1: max-transfers must be"),
                         ("rate = 5M\nrate = 6M\n", ":2: rate is set twice"),
                         ("rate-window = 08:00 5M\n", ":1: rate-window must be"),
                         ("hello\n", ":1: 'hello' is not of the form")):
        with open(f"{WORK}/bad.conf", "w") as file:
            file.write(text)
        for more in ([], ["--check-config"]):
            done = subprocess.run(["vmreplicad", "--config", f"{WORK}/bad.conf", *more], timeout=200,
                                  capture_output=True, text=True)
            equal(f"it ends with {text!r}", 1, done.returncode)
            check("it names file and line", f"bad.conf{wanted}" in done.stderr, done.stderr)
    done = subprocess.run(["vmreplicad", "--check-config", "--config", f"{tree}/userspace/service/vmreplica.conf"])
    equal("the example is right", 0, done.returncode)
    with open(f"{tree}/userspace/service/vmreplica.conf") as file:
        lines = [line[1:] for line in file if line.startswith("#") and " = " in line and ". " not in line]
    with open(f"{WORK}/all.conf", "w") as file:
        file.writelines(lines)
    done = subprocess.run(["vmreplicad", "--check-config", "--config", f"{WORK}/all.conf"])
    equal("and so is what it has commented out", 0, done.returncode)
    check("which is something", len(lines) >= 7, lines)


def test_connection():
    global silent_job
    test = "TestReplicationConnection"
    job = completes("a replica that is there", p, p.call(test, "sqqsb", "127.0.0.1", PORT, 2, "", False))
    equal("the job's type", 115, job["JobType"])
    job = ended(p, answers("a closed port", STARTED, p.call(test, "sqqsb", "127.0.0.1", CLOSED_PORT, 1, "", False)))
    equal("it ends in an exception", 10, job["JobState"])
    equal("not available", NOT_AVAILABLE, job["ErrorCode"])
    check("it says why", "127.0.0.1" in job["ErrorDescription"])
    answers("no host", INVALID, p.call(test, "sqqsb", "", PORT, 1, "", False))
    answers("no such authentication", INVALID, p.call(test, "sqqsb", "x", PORT, 3, "", False))
    # Its end is looked at by a later test, and until that this service is not restarted.
    silent_job = answers("who says nothing", STARTED,
                         r.call(test, "sqqsb", "127.0.0.1", SILENT_PORT, 1, "", False))


def test_create_refuses():
    answers("a name that leads elsewhere", INVALID, create("../x", basic("/dev/vda")))
    answers("no disks", INVALID, create("vm1", settings(RecoveryConnectionPoint="x")))
    answers("no host", INVALID, create("vm1", settings(IncludedDisks=["/dev/vda"])))
    answers("a file", INVALID, create("vm1", basic("/etc/passwd")))
    answers("a disk that is not there", NOT_FOUND, create("vm1", basic("/dev/vdz")))
    answers("an interval of 0", INVALID, create("vm1", basic("/dev/vda", ReplicationInterval=0)))
    answers("an interval beyond a day", INVALID, create("vm1", basic("/dev/vda", ReplicationInterval=86401)))
    answers("an unknown setting", INVALID, create("vm1", basic("/dev/vda", Speed="fast")))
    answers("an interval in words", WRONG_TYPE,
            create("vm1", settings(IncludedDisks=["/dev/vda"], RecoveryConnectionPoint=dbus.UInt32(5))))
    answers("a rate of 1", INVALID, create("vm1", basic("/dev/vda", MaximumRate=1)))
    answers("256 points", INVALID, create("vm1", basic("/dev/vda", RecoveryHistory=dbus.UInt16(256))))
    answers("points a century apart", INVALID,
            create("vm1", basic("/dev/vda", RecoveryHistorySpacing=dbus.UInt32(3155760000))))
    answers("snapshots", NOT_SUPPORTED,
            create("vm1", basic("/dev/vda", ApplicationConsistentSnapshotInterval=dbus.UInt16(1))))
    answers("snapshots of 13 hours", INVALID,
            create("vm1", basic("/dev/vda", ApplicationConsistentSnapshotInterval=dbus.UInt16(13))))
    answers("disks apart", NOT_SUPPORTED,
            create("vm1", basic("/dev/vda", EnableWriteOrderPreservationAcrossDisks=dbus.Boolean(False))))
    job = ended(p, answers("a replica that is not there", STARTED,
                           create("vm1", basic("/dev/vda", RecoveryServerPortNumber=CLOSED_PORT))))
    equal("not available", NOT_AVAILABLE, job["ErrorCode"])
    check("nothing is left of it", p.vm("vm1") is None)


def test_create():
    scribble("/dev/vda", 0, 8)
    # As a manager of Hyper-V's would fill it in.
    job = completes("create", p, create("vm1", basic(
        "/dev/vda", AuthenticationType=dbus.UInt16(1), BypassProxyServer=dbus.Boolean(False),
        CertificateThumbPrint="", RecoveryHistory=dbus.UInt16(0), ReplicateHostKvpItems=dbus.Boolean(True),
        EnableWriteOrderPreservationAcrossDisks=dbus.Boolean(True), CompressionEnabled=True)))
    equal("the job's type", 91, job["JobType"])
    equal("it is kept for five minutes", 300 * 1000000, job["TimeBeforeRemoval"])
    vm = p.vm("vm1")
    equal("ready", 1, vm["ReplicationState"])
    equal("a warning, as nothing is replicated", 2, vm["ReplicationHealth"])
    equal("primary", 1, vm["ReplicationMode"])
    equal("its disks", ["/dev/vda"], list(vm["IncludedDisks"]))
    equal("its interval", 3600, vm["ReplicationInterval"])
    equal("its window", ("18:30", "06:00"), (vm["AutoResynchronizeIntervalStart"],
                                             vm["AutoResynchronizeIntervalEnd"]))
    equal("write order", True, vm["EnableWriteOrderPreservationAcrossDisks"])
    equal("no point", (0, 0), (vm["LastReplicationType"], vm["LastReplicationTime"]))
    check("the issue is the reason", vm["HealthIssues"][0][1] == vm["HealthReason"])
    answers("again", IN_USE, create("vm1", basic("/dev/vdb")))
    answers("its disk again", IN_USE, create("other", basic("/dev/vda")))
    for name in ("vm2", "vm3"):
        completes(name, p, create(name, basic("/dev/vdb" if name == "vm2" else "/dev/vdc")))
    answers("one more than max-relationships", NO_MEMORY, create("vm4", basic("/dev/vda")))


# --- before the initial replication ---------------------------------------------------------

def test_refusals_before_the_initial_replication():
    for what, expected, reply in (
            ("type 0", INVALID, start("vm1", 0)), ("type 4", INVALID, start("vm1", 4)),
            ("no such VM", NOT_FOUND, start("nobody")),
            ("replicate", WRONG_STATE, replicate("vm1")),
            ("replicate no such VM", NOT_FOUND, replicate("nobody")),
            ("reverse a primary", NOT_FOUND, reverse(p, "vm1")),
            ("reverse no such VM", NOT_FOUND, reverse(p, "nobody")),
            ("verify", WRONG_STATE, p.call("VerifyReplica", "s", "vm1")),
            ("verify no such VM", NOT_FOUND, p.call("VerifyReplica", "s", "nobody")),
            ("suspend", WRONG_STATE, request("vm1", 7)), ("resume", WRONG_STATE, request("vm1", 3)),
            ("cancel the initial replication", WRONG_STATE, request("vm1", 1)),
            ("cancel a resynchronization", WRONG_STATE, request("vm1", 9)),
            ("planned failover", WRONG_STATE, request("vm1", 4)),
            ("state 5", INVALID, request("vm1", 5)), ("state 0", INVALID, request("vm1", 0)),
            ("state of no such VM", NOT_FOUND, request("nobody", 7)),
            ("resynchronize", WRONG_STATE, p.call("Resynchronize", "ss", "vm1", "")),
            ("resynchronize at no time", WRONG_TYPE, p.call("Resynchronize", "ss", "vm1", "soon")),
            ("cancel no job", NOT_FOUND, p.call("CancelJob", "o", ROOT + "/Job/9999")),
            ("remove no such VM", NOT_FOUND, p.call("RemoveReplicationRelationship", "sb", "nobody", False)),
            ("points that are elsewhere", INVALID, p.call("RemoveReplicationRelationship", "sb", "vm1", True)),
            ("reset no such VM", NOT_FOUND, p.call("ResetReplicationStatistics", "s", "nobody")),
            ("modify no such VM", NOT_FOUND, modify("nobody")),
            ("import on a host without replicas", NOT_AVAILABLE,
             p.call("ImportInitialReplica", "ss", "vm1", "/tmp")),
            ("import what is not here", NOT_FOUND, r.call("ImportInitialReplica", "ss", "nobody", "/tmp")),
            ("import from a relative path", INVALID, r.call("ImportInitialReplica", "ss", "vm1", "tmp")),
            ("export to a relative path", INVALID, start("vm1", 2, "here")),
            ("export to nowhere", NOT_FOUND, start("vm1", 2, "/nowhere"))):
        answers(what, expected, reply)
    reply = p.call("GetReplicationStatistics", "s", "nobody")
    equal("statistics of no such VM", NOT_FOUND, int(reply[0]))
    reply = r.call("GetRecoveryPoints", "s", "nobody")
    equal("points of no such VM", NOT_FOUND, int(reply[0]))


def later(**delta):
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(**delta)


def microseconds(when):
    return int(when.timestamp()) * 1000000


def test_start_time_is_checked():
    for what, text, expected in (
            ("no time", "tomorrow", WRONG_TYPE), ("no such day", "2026-02-30T10:00", WRONG_TYPE),
            ("no hour", "2026-02-03", WRONG_TYPE),
            ("over", later(minutes=-2).strftime("%Y-%m-%dT%H:%M:%SZ"), INVALID),
            ("eight days ahead", later(days=8).strftime("%Y-%m-%dT%H:%M:%SZ"), INVALID)):
        answers(what, expected, start("vm1", at=text))
    equal("it is still ready", 1, p.vm("vm1")["ReplicationState"])


def test_start_time_survives_a_restart():
    global waiting
    when = later(hours=1)
    waiting = answers("in an hour", STARTED, start("vm1", at=when.strftime("%Y-%m-%dT%H:%M:%SZ")))
    for again in (False, True):
        if again:
            p.stop(signal.SIGKILL)
            p.start()
            waiting = until("the job is there again", 120, lambda: (job := p.vm("vm1")["Job"]) != "/" and job)
        job, vm = p.get(waiting, "Job"), p.vm("vm1")
        equal("the job is new", 2, job["JobState"])
        equal("its type", 94, job["JobType"])
        equal("its time", microseconds(when), job["ScheduledStartTime"])
        equal("it has not begun", 0, job["StartTime"])
        equal("the relationship's time", microseconds(when), vm["ScheduledStartTime"])
        equal("it is ready", 1, vm["ReplicationState"])
        check("it says so", "begins at" in vm["HealthReason"], vm["HealthReason"])
    check("status shows it", "begins at" in p.cli("status"))


def test_start_time_can_be_moved():
    when = later(hours=2)
    for text in (when.strftime("%Y%m%d%H%M%S.000000+000"),
                 (when + datetime.timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02:00"),
                 when.astimezone().strftime("%Y-%m-%dT%H:%M:%S")):
        equal(f"the same job with {text}", waiting, answers("moved", STARTED, start("vm1", at=text)))
        equal(f"its time with {text}", microseconds(when), p.get(waiting, "Job")["ScheduledStartTime"])
    answers("replicate meanwhile", IN_USE, replicate("vm1"))


def test_start_time_can_be_cancelled():
    answers("cancel", OK, p.call("CancelJob", "o", waiting))
    job = p.get(waiting, "Job")
    equal("terminated", 8, job["JobState"])
    check("the error code says so", job["ErrorCode"] >= 32768)
    answers("cancel again", WRONG_STATE, p.call("CancelJob", "o", waiting))
    p.stop()
    p.start()
    vm = p.vm("vm1")
    equal("also after a restart", (1, 0, "/"), (vm["ReplicationState"], vm["ScheduledStartTime"], vm["Job"]))
    other = answers("again", STARTED, start("vm1", at=later(hours=1).strftime("%Y-%m-%dT%H:%M:%SZ")))
    answers("state 1 gives it up", OK, request("vm1", 1))
    equal("terminated", 8, p.get(other, "Job")["JobState"])


def job_request(job, state):
    return int(p.bus.call_blocking(SERVICE, job, "org.vmreplica.Job", "RequestStateChange", "q", (state,))[0])


def test_start_time_comes():
    scribble("/dev/vdb", 0, 2)
    for seconds in (4, 30, 120):  # more if that was over before it was asked for
        reply = start("vm2", at=later(seconds=seconds).strftime("%Y-%m-%dT%H:%M:%SZ"))
        if reply[0] == STARTED:
            break
    soon = answers("in some seconds", STARTED, reply)
    ahead = answers("in an hour", STARTED, start("vm3", at=later(hours=1).strftime("%Y-%m-%dT%H:%M:%SZ")))
    for state, expected in ((3, 1), (5, 1), (9, 5), (2, 0), (2, 4097)):
        equal(f"job state {state} is requested", expected, job_request(ahead, state))
    for job in (soon, ahead):
        properties = ended(p, job)
        equal("it completes", 7, properties["JobState"])
        check("it did not begin before its time", properties["StartTime"] >= properties["ScheduledStartTime"])
    equal("the time is over", 0, p.vm("vm2")["ScheduledStartTime"])
    equal("replicating", 3, p.vm("vm2")["ReplicationState"])
    same("vm2", "/dev/vdb")


# --- jobs ---------------------------------------------------------------------------------

def test_transfers_wait_for_their_turn():
    with stopped(r):
        scribble("/dev/vdb", 4, 1)
        first = answers("the first", STARTED, start("vm1"))
        second = answers("the second", STARTED, replicate("vm2"))
        until("the first runs", 120, lambda: p.get(first, "Job")["JobState"] == 4)
        vm = p.vm("vm1")
        equal("initial replication", (2, 2), (vm["ReplicationState"], vm["ReplicationHealth"]))
        equal("its job", first, vm["Job"])
        job = p.get(second, "Job")
        equal("the second is starting, as max-transfers is 1", 3, job["JobState"])
        equal("its type", 105, job["JobType"])
        check("it says why", "turn" in job["Phase"], job["Phase"])
        answers("one more for the first", IN_USE, start("vm1"))
        answers("and for the second", IN_USE, replicate("vm2"))
        answers("the replica cannot be changed just now", IN_USE, modify("vm1", RecoveryConnectionPoint="localhost"))
        answers("cancel what has not begun", OK, p.call("CancelJob", "o", second))
        equal("terminated at once", 8, p.get(second, "Job")["JobState"])
        equal("a request to terminate", 0, job_request(first, 4))
        job = ended(p, first)
        equal("terminated", 8, job["JobState"])
    equal("it is ready again", 1, p.vm("vm1")["ReplicationState"])


def test_initial_replication():
    with Monitor() as monitor:
        job = completes("start", p, start("vm1"))
        for wanted in ("InterfacesAdded", "JobState", "PercentComplete", "ReplicationState", "LastReplicationTime"):
            until(f"a signal tells of {wanted}", 120, lambda: wanted in monitor.text())
    equal("its type", 94, job["JobType"])
    check("its times", job["TimeSubmitted"] <= job["StartTime"] and job["ElapsedTime"] > 0)
    check("its bytes", job["TotalBytes"] >= 32 * MIB and job["DoneBytes"] == job["TotalBytes"])
    vm = p.vm("vm1")
    equal("replicating, well", (3, 1), (vm["ReplicationState"], vm["ReplicationHealth"]))
    equal("no issue", 0, len(vm["HealthIssues"]))
    equal("a regular point", 1, vm["LastReplicationType"])
    check("its times", 0 < vm["LastReplicationTime"] <= vm["LastApplyTime"])
    same("vm1", "/dev/vda")
    answers("again", WRONG_STATE, start("vm1"))
    twin = until("the replica shows it", 120, lambda: r.vm("vm1"))
    equal("replica", 2, twin["ReplicationMode"])
    equal("the same relationship", vm["InstanceID"], twin["InstanceID"])


class Monitor:
    """What the bus carries meanwhile, as text."""

    def __enter__(self):
        # Read by another opening: what the monitor writes must not move with where it is read.
        with open(f"{WORK}/signals", "w") as file:
            self.process = subprocess.Popen(["dbus-monitor", "--system", f"sender='{SERVICE}',type='signal'"],
                                            stdout=file)
        until("the monitor listens", 120, self.text)
        return self

    def text(self):
        with open(f"{WORK}/signals") as file:
            return file.read()

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def test_a_replica_is_no_primary():
    answers("start", NOT_SUPPORTED, r.call("StartReplication", "sqss", "vm1", 1, "", ""))
    answers("suspend", NOT_SUPPORTED, request("vm1", 7, r))
    answers("remove", INVALID, r.call("RemoveReplicationRelationship", "sb", "vm1", False))
    values = until("the replica shows the point", 120,
                   lambda: (v := statistics("vm1", r))["LastReplicationTime"] > 0 and v)
    equal("it is well", 1, values["ReplicationHealth"])


def test_timeout():
    job = ended(r, silent_job)
    equal("an exception", (10, TIMEOUT), (job["JobState"], job["ErrorCode"]))


# --- replication ---------------------------------------------------------------------------

def test_verify():
    job = completes("verify", p, p.call("VerifyReplica", "s", "vm1"))
    equal("its type", 112, job["JobType"])
    equal("nothing differs", (0, 0), (job["DifferenceSize"], len(job["Differences"])))
    equal("nothing is said", "", job["ErrorDescription"])
    answers("reverse before a failover", WRONG_STATE, reverse(r, "vm1"))


def test_replicate_and_statistics():
    answers("reset", OK, p.call("ResetReplicationStatistics", "s", "vm1"))
    equal("no pass since", 0, statistics("vm1")["ReplicationSuccessCount"])
    scribble("/dev/vda", 3, 2)
    until("to be sent", 120, lambda: statistics("vm1")["PendingReplicationSize"] == 2 * MIB)
    dry = p.cli_json("replicate", "vm1", "--dry-run")
    equal("a dry run says as much", (2 * MIB, False), (dry["bytes"], dry["whole"]))
    equal("and sends nothing", 0, statistics("vm1")["ReplicationSuccessCount"])
    job = completes("replicate", p, replicate("vm1"))
    equal("its type", 105, job["JobType"])
    equal("its bytes", 2 * MIB, job["TotalBytes"])
    completes("an empty one", p, replicate("vm1"))
    values = statistics("vm1")
    equal("two passes", 2, values["ReplicationSuccessCount"])
    equal("their average", MIB, values["ReplicationSize"])
    equal("the largest", 2 * MIB, values["MaxReplicationSize"])
    check("the latency", 0 < values["ReplicationLatency"] <= values["MaxReplicationLatency"])
    check("the times", 0 < values["StartStatisticTime"] < values["EndStatisticTime"])
    equal("no failure", (0, 0, 0), tuple(values[key] for key in (
        "ReplicationFailureCount", "NetworkFailureCount", "ReplicationMissCount")))
    equal("never", (0, 0), (values["ApplicationConsistentSnapshotFailureCount"], values["LastTestFailoverTime"]))
    same("vm1", "/dev/vda")


def test_suspended_costs_the_union():
    answers("suspend", OK, request("vm1", 7))
    vm = p.vm("vm1")
    equal("suspended, a warning", (7, 2), (vm["ReplicationState"], vm["ReplicationHealth"]))
    answers("again", WRONG_STATE, request("vm1", 7))
    answers("replicate", WRONG_STATE, replicate("vm1"))
    answers("start", WRONG_STATE, start("vm1"))
    answers("state 2 is for the initial replication", WRONG_STATE, request("vm1", 2))
    for _ in range(3):
        scribble("/dev/vda", 10, 1)
        scribble("/dev/vda", 20, 1)
    before = p.vm("vm1")["LastPass"]
    answers("resume", OK, request("vm1", 3))
    vm = until("a pass by itself", 120, lambda: (v := p.vm("vm1"))["LastPass"] > before and idle("vm1") and v)
    equal("what was written thrice is sent once", 2 * MIB, vm["LastPassSize"])
    equal("replicating, well", (3, 1), (p.vm("vm1")["ReplicationState"], p.vm("vm1")["ReplicationHealth"]))
    answers("resume again", WRONG_STATE, request("vm1", 3))
    same("vm1", "/dev/vda")


def test_modify():
    with Monitor() as monitor:
        answers("modify", OK, modify("vm1", ReplicationInterval=900, CompressionEnabled=False, MaximumRate=5 * MIB,
                                     AutoResynchronizeIntervalStart="20:00"))
        for wanted in ("ReplicationInterval", "MaximumRate"):
            until(f"a signal tells of {wanted}", 120, lambda: wanted in monitor.text())
    vm = p.vm("vm1")
    equal("changed", (900, False, 5 * MIB, "20:00"), (
        vm["ReplicationInterval"], vm["CompressionEnabled"], vm["MaximumRate"], vm["AutoResynchronizeIntervalStart"]))
    answers("nothing", OK, modify("vm1"))
    answers("the disks", NOT_SUPPORTED, modify("vm1", IncludedDisks=["/dev/vdb"]))
    answers("a bad interval", INVALID, modify("vm1", ReplicationInterval=0))
    answers("a bad time", INVALID, modify("vm1", AutoResynchronizeIntervalEnd="26:00"))
    answers("a bad type", WRONG_TYPE, modify("vm1", AutoResynchronizeIntervalEnd=dbus.UInt32(6)))
    answers("a bad one of two changes neither", INVALID, modify("vm1", CompressionEnabled=True, MaximumRate=7))
    equal("neither", False, p.vm("vm1")["CompressionEnabled"])
    p.stop()
    p.start()
    vm = p.vm("vm1")
    equal("after a restart", (900, False, 5 * MIB, "20:00"), (
        vm["ReplicationInterval"], vm["CompressionEnabled"], vm["MaximumRate"], vm["AutoResynchronizeIntervalStart"]))


def test_rate():
    until("it rests", 120, lambda: idle("vm1"))
    answers("a rate", OK, modify("vm1", MaximumRate=MIB))
    scribble("/dev/vda", 16, 8)
    path = answers("replicate", STARTED, replicate("vm1"))
    until("the rate holds", 120, lambda: p.vm("vm1")["CurrentMaximumRate"] == MIB)
    job = ended(p, path)
    equal("it completes", 7, job["JobState"])
    check("8 MiB at 1 MiB a second take their time", job["ElapsedTime"] >= 6.5e6, job["ElapsedTime"])
    answers("no rate", OK, modify("vm1", MaximumRate=0))
    scribble("/dev/vda", 16, 1)
    completes("replicate", p, replicate("vm1"))
    equal("the host's rate is in the file", 64 * MIB, p.vm("vm1")["CurrentMaximumRate"])
    same("vm1", "/dev/vda")


def test_interval_of_a_second():
    answers("an interval of 1 s", OK, modify("vm1", ReplicationInterval=1))
    answers("reset", OK, p.call("ResetReplicationStatistics", "s", "vm1"))
    until("passes follow by themselves", 120, lambda: statistics("vm1")["ReplicationSuccessCount"] >= 4)
    with stopped(r):
        # By far more than the fifth that is a warning: there will be more that are not missed.
        until("cycles are missed", 120, lambda: (v := statistics("vm1"))["ReplicationMissCount"] >= 6 and
              v["ReplicationMissCount"] > v["ReplicationSuccessCount"])
    before = p.vm("vm1")["LastPass"]
    until("it goes on", 120, lambda: p.vm("vm1")["LastPass"] > before + 1)
    answers("an interval of an hour", OK, modify("vm1", ReplicationInterval=3600))
    until("it rests", 120, lambda: idle("vm1"))
    vm = p.vm("vm1")
    equal("a warning, though it replicates", (3, 2), (vm["ReplicationState"], vm["ReplicationHealth"]))
    check("for the cycles", "cycles" in vm["HealthReason"], vm["HealthReason"])
    reply = p.call("GetReplicationStatistics", "s", "vm1")
    equal("among the issues", (2, vm["HealthReason"]), (int(reply[3][0][0]), str(reply[3][0][1])))
    answers("reset", OK, p.call("ResetReplicationStatistics", "s", "vm1"))
    equal("well again", 1, p.vm("vm1")["ReplicationHealth"])


def test_replica_away():
    r.stop(signal.SIGKILL)
    scribble("/dev/vda", 1, 1)
    job = ended(p, answers("replicate", STARTED, replicate("vm1")))
    equal("an exception", (10, NOT_AVAILABLE), (job["JobState"], job["ErrorCode"]))
    vm = p.vm("vm1")
    equal("critical", (8, 3), (vm["ReplicationState"], vm["ReplicationHealth"]))
    check("says why", "127.0.0.1" in vm["HealthReason"])
    check("status says so first", "!! vm1" in p.cli("status"))
    values = statistics("vm1")
    check("it counts", values["ReplicationFailureCount"] >= 1 and values["NetworkFailureCount"] >= 1)
    check("the journal has VM and job", until("a line in the journal", 120, lambda: [
        entry for entry in journal if b"VMREPLICA_VM=vm1" in entry and b"VMREPLICA_JOB=" in entry and
        b"PRIORITY=3" in entry and b"127.0.0.1" in entry]))
    r.start()
    until("it comes back by itself", 120, lambda: p.vm("vm1")["ReplicationHealth"] == 1 and idle("vm1"))
    same("vm1", "/dev/vda")


def seed(vm, disk):
    """What a user brought to the replica: the disk as it was a while ago."""
    to = f"/var/lib/vmreplica/r/replica/.seed/{vm}"
    os.makedirs(to)
    subprocess.run(["dd", f"if={disk}", f"of={to}/{os.path.basename(disk)}.raw", "bs=1M", "status=none"], check=True)


def test_seeded():
    completes("remove", p, p.call("RemoveReplicationRelationship", "sb", "vm3", False))
    completes("delete", r, r.call("RemoveReplicationRelationship", "sb", "vm3", True))
    scribble("/dev/vdc", 0, 16)
    seed("vm3", "/dev/vdc")
    scribble("/dev/vdc", 5, 1)
    check("it is gone there", r.vm("vm3") is None)
    completes("create", p, create("vm3", basic("/dev/vdc", CompressionEnabled=False)))
    job = completes("type 3", p, start("vm3", 3))
    statistics("vm3", r)  # the replica answers for it at once
    equal("its type", 94, job["JobType"])
    check("only what differs is sent", MIB <= job["WireBytes"] < 4 * MIB, job["WireBytes"])
    same("vm3", "/dev/vdc")


def test_export_and_import():
    completes("remove", p, p.call("RemoveReplicationRelationship", "sb", "vm3", False))
    completes("delete", r, r.call("RemoveReplicationRelationship", "sb", "vm3", True))
    completes("create", p, create("vm3", basic("/dev/vdc")))
    medium = f"{WORK}/medium"
    os.makedirs(medium, exist_ok=True)
    # The time is ignored for an export, whatever it is.
    job = completes("type 2", p, start("vm3", 2, medium, "tomorrow"))
    equal("its type", 118, job["JobType"])
    equal("one directory, of the VM's", ["vm3"], os.listdir(medium))
    answers("again", WRONG_STATE, start("vm3", 2, medium))
    scribble("/dev/vdc", 2, 1)
    completes("changes flow", p, replicate("vm3"))
    until("the replica waits and says so", 120, lambda: (v := r.vm("vm3")) and
          v["ReplicationState"] == 2 and "import" in v["HealthReason"])
    path = answers("from where it is not", STARTED, r.call("ImportInitialReplica", "ss", "vm3", STATE))
    equal("not found", NOT_FOUND, ended(r, path)["ErrorCode"])
    job = completes("import", r, r.call("ImportInitialReplica", "ss", "vm3", medium))
    equal("its type", 95, job["JobType"])
    until("the replica has points", 120, lambda: r.vm("vm3")["RecoveryPoints"] > 0)
    completes("and goes on", p, replicate("vm3"))
    same("vm3", "/dev/vdc")


def resynchronize(vm, at=""):
    return p.call("Resynchronize", "ss", vm, at)


def points(vm):
    return len(r.cli_json("points", vm)["points"])


def test_resynchronize_what_is_well():
    before = points("vm1")
    answers("at a time", WRONG_STATE, resynchronize("vm1", later(hours=1).strftime("%Y-%m-%dT%H:%M:%SZ")))
    job = completes("at once", p, resynchronize("vm1"))
    equal("its type", 107, job["JobType"])
    check("all was compared, little sent", job["TotalBytes"] >= 32 * MIB and job["WireBytes"] < 4 * MIB,
          job["TotalBytes"], job["WireBytes"])
    check("the points stay", points("vm1") >= before)
    equal("replicating, well", (3, 1), (p.vm("vm1")["ReplicationState"], p.vm("vm1")["ReplicationHealth"]))
    same("vm1", "/dev/vda")


def forget_groups():
    """Ends all tracking behind the service's back, as a reboot does."""
    import ctypes
    library = ctypes.CDLL(f"{os.environ.get('VMREPLICA_BUILD', tree + '/build')}/libblkcbt.so.0")
    handle = ctypes.c_void_p()
    equal("the library opens", 0, library.cbt_open(ctypes.byref(handle)))
    for group in range(1, 100):
        library.cbt_group_del(handle, group)
    library.cbt_close(handle)


def test_resynchronize_after_an_interruption():
    p.stop()
    forget_groups()
    scribble("/dev/vda", 7, 1)
    scribble("/dev/vdb", 7, 1)
    p.start()
    vm = until("it is critical", 120, lambda: (v := p.vm("vm1"))["ReplicationState"] == 8 and v)
    check("it says why and what to do", "tracking was interrupted" in vm["HealthReason"] and
          "vmreplica resynchronize vm1" in vm["HealthReason"], vm["HealthReason"])
    until("it rests", 120, lambda: idle("vm1"))
    dry = p.cli_json("replicate", "vm1", "--dry-run")
    equal("a dry run says that it would be all", (32 * MIB, True), (dry["bytes"], dry["whole"]))
    when = later(hours=1)
    path = answers("in an hour", STARTED, in_turn(resynchronize, "vm1", when.strftime("%Y-%m-%dT%H:%M:%SZ")))
    job, vm = p.get(path, "Job"), p.vm("vm1")
    equal("it waits", (2, microseconds(when), 9), (job["JobState"], job["ScheduledStartTime"], vm["ReplicationState"]))
    equal("it can be moved", path, answers("in two", STARTED, resynchronize(
        "vm1", later(hours=2).strftime("%Y-%m-%dT%H:%M:%SZ"))))
    answers("and given up", OK, request("vm1", 9))
    equal("its job", 8, p.get(path, "Job")["JobState"])
    answers("given up again", WRONG_STATE, request("vm1", 9))
    equal("critical as before", 8, p.vm("vm1")["ReplicationState"])
    with stopped(r):
        path = answers("at once", STARTED, resynchronize("vm1"))
        until("it is resynchronizing", 120, lambda: p.vm("vm1")["ReplicationState"] == 10)
    job = ended(p, path)
    equal("it completes", (7, 107), (job["JobState"], job["JobType"]))
    check("little was sent", job["WireBytes"] < 5 * MIB, job["WireBytes"])
    equal("replicating", 3, p.vm("vm1")["ReplicationState"])
    same("vm1", "/dev/vda")


def test_resynchronize_by_itself():
    until("it is critical", 120, lambda: p.vm("vm2")["ReplicationState"] == 8)
    completes("the other", p, in_turn(resynchronize, "vm3"))
    answers("modify", OK, modify("vm2", AutoResynchronizeEnabled=dbus.Boolean(True), AutoResynchronizeIntervalStart="00:00",
                                 AutoResynchronizeIntervalEnd="00:00"))
    vm = until("it replicates", 300, lambda: (v := p.vm("vm2"))["ReplicationState"] == 3 and idle("vm2") and v)
    check("it is allowed to", vm["AutoResynchronizeEnabled"])
    same("vm2", "/dev/vdb")


# --- rights -----------------------------------------------------------------------------------

def as_nobody(*command):
    done = subprocess.run(["runuser", "-u", "nobody", "--", *command], capture_output=True, text=True, timeout=200)
    return done.returncode, done.stdout, done.stderr


def nobody_calls(method, *args):
    """The return value of a method that nobody calls."""
    status, out, err = as_nobody("busctl", "--system", "--json=short", "call", SERVICE, OBJECT, INTERFACE, method, *args)
    equal(f"busctl call {method}: {err}", 0, status)
    return json.loads(out)["data"][0]


def test_without_polkit_only_root_changes():
    for method, args in (("Replicate", ("s", "vm1")), ("RequestReplicationStateChange", ("sq", "vm1", "7")),
                         ("ModifyReplicationSettings", ("sa{sv}", "vm1", "0")),
                         ("RemoveReplicationRelationship", ("sb", "vm1", "false")),
                         ("StartReplication", ("sqss", "vm1", "1", "", "")),
                         ("CreateReplicationRelationship", ("sa{sv}", "x", "0")),
                         ("ImportInitialReplica", ("ss", "vm1", "/tmp")), ("Resynchronize", ("ss", "vm1", "")),
                         ("TestReplicationConnection", ("sqqsb", "x", "1", "1", "", "false")),
                         ("ResetReplicationStatistics", ("s", "vm1")), ("CancelJob", ("o", ROOT + "/Job/1"))):
        equal(f"nobody may not {method}", DENIED, nobody_calls(method, *args))
    equal("nobody may look at statistics", 0, nobody_calls("GetReplicationStatistics", "s", "vm1"))
    for command in (("status",), ("jobs",), ("status", "vm1", "--json"), ("statistics", "vm1")):
        equal(f"nobody may look: {command}", 0, as_nobody("vmreplica", *command)[0])
    status, _, err = as_nobody("vmreplica", "replicate", "vm1")
    equal("the command line says so", (1, True), (status, "only root" in err))


def test_polkit_grants():
    polkit = subprocess.Popen(["/usr/bin/python3", os.path.abspath(__file__), "--polkit", "org.vmreplica.operate"])
    until("polkit is there", 120, lambda: p.bus.name_has_owner("org.freedesktop.PolicyKit1"))
    equal("what is granted", OK, nobody_calls("ResetReplicationStatistics", "s", "vm1"))
    equal("what is granted, refused for a reason", NOT_FOUND, nobody_calls("Replicate", "s", "nobody"))
    equal("what is not", DENIED, nobody_calls("ModifyReplicationSettings", "sa{sv}", "vm1", "0"))
    polkit.terminate()
    polkit.wait()
    equal("without it again", DENIED, nobody_calls("ResetReplicationStatistics", "s", "vm1"))


# --- what goes wrong -----------------------------------------------------------------------------

def test_failed():
    fill = f"{STATE}/primary/fill"
    subprocess.run(["dd", "if=/dev/zero", f"of={fill}", "bs=64k", "status=none"], stderr=subprocess.DEVNULL)
    answers("no room for the state file", FAILED, modify("vm1", ReplicationInterval=30))
    os.unlink(fill)
    equal("the old state stands", 3600, p.vm("vm1")["ReplicationInterval"])


def test_status_unknown():
    p.stop()
    path = f"{STATE}/primary/vm3.json"
    with open(path, "rb") as file:
        whole = file.read()
    with open(path, "wb") as file:
        file.write(whole[:100])
    p.start()
    vm = p.vm("vm3")
    equal("unknown, critical", (17, 3), (vm["ReplicationState"], vm["ReplicationHealth"]))
    check("it says why", "damaged" in vm["HealthReason"])
    for reply in (start("vm3"), replicate("vm3"), request("vm3", 7), modify("vm3"), create("vm3", basic("/dev/vdc")),
                  p.call("RemoveReplicationRelationship", "sb", "vm3", False),
                  p.call("ResetReplicationStatistics", "s", "vm3"), p.call("Resynchronize", "ss", "vm3", "")):
        answers("whatever is asked", UNKNOWN, reply)
    equal("statistics", UNKNOWN, int(p.call("GetReplicationStatistics", "s", "vm3")[0]))
    equal("the others go on", 3, p.vm("vm2")["ReplicationState"])
    p.stop()
    with open(path, "rb") as file:
        equal("the file is as it was", whole[:100], file.read())
    with open(path, "wb") as file:
        file.write(whole)
    p.start()
    equal("repaired, it goes on", 3, p.vm("vm3")["ReplicationState"])


def test_command_line_is_a_client():
    until("all rest", 120, lambda: idle("vm1") and idle("vm2") and idle("vm3"))
    equal("modify", (0, None), ((o := p.cli_json("modify", "vm2", "--interval", "1800"))["return_value"], o["job"]))
    done = p.cli_json("replicate", "vm2")
    equal("replicate", (4096, "completed", 105), (done["return_value"], done["job"]["state"], done["job"]["type_code"]))
    equal("suspend", 0, p.cli_json("suspend", "vm2")["return_value"])
    equal("suspend again", WRONG_STATE, p.cli_json("suspend", "vm2", status=1)["return_value"])
    equal("resume", 0, p.cli_json("resume", "vm2")["return_value"])
    equal("start", WRONG_STATE, p.cli_json("start-replication", "vm1", status=1)["return_value"])
    equal("resynchronize", INVALID, p.cli_json("resynchronize", "vm1", "--at", "2020-01-01T00:00Z", status=1)["return_value"])
    equal("import", NOT_AVAILABLE, p.cli_json("import", "vm1", "--from", "/tmp", status=1)["return_value"])
    equal("statistics", "vm2", p.cli_json("statistics", "vm2")["vm"])
    equal("statistics --reset", 0, p.cli_json("statistics", "vm2", "--reset")["return_value"])
    equal("test-connection", "completed", p.cli_json("test-connection", f"127.0.0.1:{PORT}")["job"]["state"])
    equal("enable", IN_USE, p.cli_json("enable", "vm2", "--disk", "/dev/vdb", "--to", "x", status=1)["return_value"])
    equal("cancel", NOT_FOUND, p.cli_json("cancel", "9999", status=1)["return_value"])
    check("statistics for people", "passes" in p.cli("statistics", "vm1"))
    check("a dry run for people", "nothing was sent" in p.cli("replicate", "vm1", "--dry-run"))
    until("it rests", 120, lambda: idle("vm2"))
    done = p.cli_json("disable", "vm2")
    equal("disable", (4096, 93), (done["return_value"], done["job"]["type_code"]))


def test_remove():
    job = completes("remove", p, p.call("RemoveReplicationRelationship", "sb", "vm1", False))
    equal("its type", 93, job["JobType"])
    check("it is gone", p.vm("vm1") is None)
    twin = until("the replica knows", 120, lambda: (v := r.vm("vm1")) and v["Released"] and v)
    equal("disabled", (0, 1), (twin["ReplicationState"], twin["ReplicationHealth"]))
    completes("delete the points", r, r.call("RemoveReplicationRelationship", "sb", "vm1", True))
    check("they are gone", r.vm("vm1") is None)
    equal("no points", NOT_FOUND, int(r.call("GetRecoveryPoints", "s", "vm1")[0]))


# --- run -----------------------------------------------------------------------------------------

def polkit_main(granted):
    """A polkit that grants one action to everyone, and nothing else."""
    import dbus.mainloop.glib
    import dbus.service
    from gi.repository import GLib
    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    name = "org.freedesktop.PolicyKit1"
    bus = dbus.SystemBus()

    class Authority(dbus.service.Object):
        @dbus.service.method(name + ".Authority", in_signature="(sa{sv})sa{ss}us", out_signature="(bba{ss})")
        def CheckAuthorization(self, subject, action, details, flags, cancellation):
            good = subject[0] == "system-bus-name" and str(subject[1]["name"]).startswith(":")
            return (good and action == granted, False, dbus.Dictionary({}, signature="ss"))

    keep = dbus.service.BusName(name, bus), Authority(bus, "/org/freedesktop/PolicyKit1/Authority")
    GLib.MainLoop().run()
    return keep


def start_buses():
    os.makedirs("/run/dbus", exist_ok=True)
    os.makedirs(WORK, exist_ok=True)
    subprocess.run(["install", "-D", "-m", "644", f"{tree}/userspace/service/org.vmreplica.conf",
                    "/usr/share/dbus-1/system.d/org.vmreplica.conf"], check=True)
    # No polkit but ours, which root may be.
    for name in ("org.freedesktop.PolicyKit1.service",):
        if os.path.exists(f"/usr/share/dbus-1/system-services/{name}"):
            os.unlink(f"/usr/share/dbus-1/system-services/{name}")
    os.makedirs("/etc/dbus-1/system.d", exist_ok=True)
    with open("/etc/dbus-1/system.d/contract.conf", "w") as file:
        file.write('<busconfig><policy user="root"><allow own="org.freedesktop.PolicyKit1"/></policy>'
                   '<policy context="default"><allow send_destination="org.freedesktop.PolicyKit1"/></policy></busconfig>')
    subprocess.run(["dbus-daemon", "--system", "--fork", "--nopidfile", "--nosyslog"], check=True)
    return subprocess.run(["dbus-daemon", "--session", "--fork", "--print-address", "--nosyslog", "--nopidfile"],
                          check=True, capture_output=True, text=True).stdout.strip()


def listen_silently():
    """A port that takes connections and says nothing; the kernel does it all."""
    sock = socket.create_server(("127.0.0.1", SILENT_PORT), backlog=16)
    return sock


def read_journal():
    """Plays the journal: the entries come as datagrams."""
    os.makedirs("/run/systemd/journal", exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind("/run/systemd/journal/socket")

    def read():
        while True:
            journal.append(sock.recv(65536))

    threading.Thread(target=read, daemon=True).start()


def run(number, name, test):
    began = time.monotonic()
    failure = None
    try:
        test()
    except NotSo as not_so:
        line = [frame.lineno for frame in traceback.extract_tb(not_so.__traceback__) if frame.name == test.__name__]
        failure = f"# not so: {not_so} (line {line[-1]})"
    except Exception:
        failure = "\n".join("# " + line for line in traceback.format_exc().splitlines())
    print(f"# {time.monotonic() - began:.1f} s")
    if failure:
        print(failure)
    print(f"{'not ok' if failure else 'ok'} {number} - {name}", flush=True)
    return bool(failure)


def main():
    global p, r, journal, silent
    journal = []
    subprocess.run(["modprobe", "blkcbt"], check=True)
    address = start_buses()
    read_journal()
    silent = listen_silently()
    os.makedirs(STATE, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", STATE], check=True)
    with open(f"{WORK}/p.conf", "w") as file:
        file.write(f"state-dir = {STATE}\nlisten = no\nmax-transfers = 1\nmax-relationships = 3\n"
                   "rate = none\nrate-window = 00:00-12:00 64M\nrate-window = 12:00-00:00 64M\n")
    p = Host("primary", dbus.SystemBus(), None, "--config", f"{WORK}/p.conf", env={"JOURNAL_STREAM": "1:1"})
    r = Host("replica", dbus.bus.BusConnection(address), address, "--state-dir", "/var/lib/vmreplica/r",
             "--listen", f"127.0.0.1:{PORT}")
    p.start()
    r.start()
    tests = [(name[5:], test) for name, test in globals().items() if name.startswith("test_") and callable(test)]
    tests = [(name, test) for name, test in tests if not sys.argv[1:] or name in sys.argv[1:]]
    print(f"TAP version 13\n1..{len(tests)}", flush=True)
    failed = sum(run(i, name, test) for i, (name, test) in enumerate(tests, 1))
    p.stop()
    r.stop()
    for host in (p, r):
        with open(f"{WORK}/{host.name}.log") as log:
            text = log.read()
        if "Sanitizer" in text or "runtime error:" in text or failed:
            print("".join(f"# {host.name}: {line}\n" for line in text.splitlines()[-40:]))
            failed += "Sanitizer" in text or "runtime error:" in text
    sys.exit(1 if failed else 0)


if sys.argv[1:2] == ["--polkit"]:
    polkit_main(sys.argv[2])
else:
    main()
