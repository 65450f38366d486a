#!/usr/bin/drgn
# SPDX-License-Identifier: GPL-2.0-or-later
"""List the tracker's groups, disks, epochs and writes in flight, of a live kernel or a vmcore.

    drgn -k -s blkcbt.ko tools/blkcbt.drgn.py
    drgn -c VMCORE -s VMLINUX -s blkcbt.ko tools/blkcbt.drgn.py

Takes no lock and changes nothing. For the kernel that runs, the module's own debugging
information is enough; a vmcore needs that of its kernel (Debian: linux-image-RELEASE-dbg), too.
"""
from drgn import Object, ProgramFlags, container_of

LIVE = bool(prog.flags & ProgramFlags.IS_LIVE)


def running_address(name, module=""):
    """Of a symbol of the kernel that runs, as it tells itself."""
    with open("/proc/kallsyms", encoding="ascii") as symbols:
        for line in symbols:
            words = line.split()
            if words[2] == name and "".join(words[3:]).strip("[]") == module:
                return int(words[0], 16)
    raise LookupError(f"no {name} in /proc/kallsyms: is the module loaded?")


def kernel_address(name):
    return running_address(name) if LIVE else prog.symbol(name).address


def module_object(name, filename):
    """Without the kernel's debugging information nobody has told drgn where the module is."""
    found = prog.object(name, filename=filename)
    if not LIVE:
        return found
    return Object(prog, found.type_, address=running_address(name, "blkcbt"))


def possible_cpus():
    if not LIVE:
        from drgn.helpers.linux.cpumask import for_each_possible_cpu

        return list(for_each_possible_cpu(prog))
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as ranges:
        cpus = []
        for part in ranges.read().strip().split(","):
            first, _, last = part.partition("-")
            cpus += range(int(first), int(last or first) + 1)
        return cpus


OFFSETS = kernel_address("__per_cpu_offset")
CPUS = possible_cpus()


def inflight(epoch):
    """Writes in flight, and on which CPUs they were counted in or out."""
    counts = {}
    for cpu in CPUS:
        offset = prog.read_u64(OFFSETS + 8 * cpu)
        address = (epoch.inflight.value_() + offset) & 0xFFFFFFFFFFFFFFFF
        count = Object(prog, "long", address=address).value_()
        if count:
            counts[cpu] = count
    return sum(counts.values()), counts


def tapped_disks():
    for head in module_object("taps", "tap.c"):
        node = head.first
        while node:
            yield container_of(node, "struct cbt_disk", "tap_entry")
            node = node.next


def show_group(group, disks):
    live = group.epochs.live.slot.value_()
    print(f"group {group.id.value_()} {group.name.string_().decode()}")
    for epoch in group.epochs.at:
        total, counts = inflight(epoch)
        slot = epoch.slot.value_()
        text = ", ".join(f"CPU {cpu}: {count:+d}" for cpu, count in counts.items())
        print(f"  epoch {slot}{' (live)' if slot == live else ''}: {total} in flight {text}")
    print(f"  kept for passes: {group.kept_bytes.counter.value_()} bytes")
    for disk in sorted(disks, key=lambda disk: disk.id.value_()):
        dev = disk.dev.value_()
        untrusted = ",".join(f"{share.untrusted.counter.value_():#x}" for share in disk.shares)
        print(
            f"  disk {disk.id.value_()} {disk.path.string_().decode()} "
            f"{dev >> 20}:{dev & 0xFFFFF} untrusted={untrusted}"
        )


def main():
    groups = {}
    for disk in tapped_disks():
        groups.setdefault(disk.group.value_(), []).append(disk)
    for disks in sorted(groups.values(), key=lambda disks: disks[0].group.id.value_()):
        show_group(disks[0].group, disks)
    print(f"{len(groups)} groups with disks")


main()
