# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of the comparison: what is copied, by whom, and what is to be reached."""
import dataclasses
import pathlib
import typing

import link
import ours
import peers
import work
from work import forget

GIB = 1 << 30
MIB = 1 << 20


class Bench:
    """Folders and images; images are made when they are first asked for."""

    def __init__(self, disk, memory, options):
        self.disk, self.memory = pathlib.Path(disk), pathlib.Path(memory)
        self.options = options
        self.quick, self.slow, self.link_rate = options.quick, options.slow, options.link_rate
        self.size = 512 * MIB if options.quick else 4 * GIB

    def folder(self, where):
        return self.memory if where == "memory" else self.disk

    def image(self, where, kind="real"):
        path = self.folder(where) / f"{kind}-{self.size >> 20}.img"
        if where == "disk" and kind == "real":
            work.real_image(path, self.size)
        elif not path.exists() and kind == "real":
            work.copy_sparse(self.image("disk"), path)
        elif not path.exists():
            {"noise": work.noise_image, "sparse": work.sparse_image}[kind](path, self.size)
        return path


@dataclasses.dataclass
class Row:
    name: str
    work: str
    tools: dict                     # name: function(bench, what prepare() gave) -> figures
    targets: list = dataclasses.field(default_factory=list)
    quick: bool = True              # measured with --quick
    most_rounds: int = 1000
    prepare: typing.Callable = lambda bench: None
    finish: typing.Callable = lambda bench, prepared: None


def target(peer, at_most, figure="seconds", of=None, tool="vmreplica"):
    return {"ours": tool, "peer": peer, "figure": figure, "of": of or figure, "at_most": at_most}


# --- initial passes ------------------------------------------------------------

def copy_by(where, kind, copy, keep=False):
    """A run of a program that copies the image to a file."""
    def run(bench, _):
        image, copied = bench.image(where, kind), bench.folder(where) / "copy.img"
        if where == "disk":
            work.settle()
            forget(image)
        try:
            return copy(image, copied)
        finally:
            if not keep:
                copied.unlink(missing_ok=True)
    return run


def ours_by(where, kind, compress):
    """A run of an initial pass into a new store; the first is compared with what was sent."""
    verified = set()

    def run(bench, _):
        image = bench.image(where, kind)
        if where == "disk":
            work.settle()
            forget(image)
        figures = ours.initial(image, bench.folder(where) / "store", compress,
                               verify=image not in verified)
        verified.add(image)
        return figures
    return run


def drop(where, kind):
    """Images of noise and nothing are not kept."""
    return lambda bench, _: bench.image(where, kind).unlink()


def initial(where, kind, text, **options):
    return Row(f"initial-{kind}-{where}", text, {
        "vmreplica": ours_by(where, kind, "off"),
        "nbdcopy": copy_by(where, kind, peers.nbdcopy),
        "qemu-img": copy_by(where, kind, peers.qemu_img),
    }, **options)


MEMORY = {"targets": [target("nbdcopy", 0.65), target("nbdcopy", 0.5, "cpu")]}
DISK = {"targets": [target("nbdcopy", 0.95), target("nbdcopy", 0.35, "cpu")]}

INITIAL = [
    initial("memory", "real", "all of a real file system, in memory", **MEMORY),
    initial("disk", "real", "all of a real file system, on disk", **DISK),
    initial("memory", "noise", "all of a disk of noise, in memory", quick=False,
            finish=drop("memory", "noise")),
    initial("memory", "sparse", "all of a sparse disk, in memory", finish=drop("memory", "sparse")),
]

PACKED = [
    Row("lz4-memory", "all of a real file system with lz4, in memory", {
        "vmreplica": ours_by("memory", "real", "lz4"),
        "dd|lz4|socat": copy_by("memory", "real", peers.pipeline),
    }, [target("dd|lz4|socat", 0.25),
        target("vmreplica", 0.43, "wire_bytes", "data_bytes")]),
    Row("adaptive-memory", "the same, packing where it pays", {
        "vmreplica": ours_by("memory", "real", "auto"),
        "vmreplica off": ours_by("memory", "real", "off"),
        "vmreplica lz4": ours_by("memory", "real", "lz4"),
    }, [target("vmreplica off", 1.05)]),
]


# --- deltas --------------------------------------------------------------------

@dataclasses.dataclass
class Delta:
    """A disk with pieces changed since the replica, and QEMU's copy of it, were made."""
    image: pathlib.Path
    extents: pathlib.Path
    pieces: list
    size: int
    chunk: int
    replica: ours.Replica
    qemu: peers.QemuBitmap | None = None


def prepare_delta(percent, piece, size=None, qemu=True, spread=False):
    """@size: of a sparse disk instead of the real one; @spread: over all of it."""
    def prepare(bench):
        folder = bench.memory
        if size:
            image, bytes_of = folder / "large.img", size
            with open(image, "wb") as file:
                file.truncate(size)
        else:
            image, bytes_of = folder / "changed.img", bench.size
            work.copy_sparse(bench.image("disk"), image)
        changed = int(bench.size * percent / 100)
        pieces = work.choose_pieces(bytes_of if spread else bench.size, changed, piece,
                                    seed=percent * piece)
        extents = folder / "extents"
        work.write_extents(extents, pieces)
        replica = ours.Replica(folder / "store")
        chunk = 65536 if piece % 65536 == 0 else 4096
        empty = folder / "empty.img"
        with open(empty, "wb") as file:
            file.truncate(bytes_of)
        replica.send(empty, "--chunk", chunk, "--compress", "off")
        empty.unlink()
        work.write_pieces(image, pieces, bench.image("disk"))
        delta = Delta(image, extents, pieces, bytes_of, chunk, replica)
        if qemu:
            delta.qemu = peers.QemuBitmap(image, folder)
        return delta
    return prepare


def finish_delta(bench, delta):
    delta.replica.end()
    if delta.qemu:
        delta.qemu.end()
    delta.image.unlink()


def send_delta(bench, delta):
    return delta.replica.send(delta.image, "--extents", delta.extents, "--chunk", delta.chunk,
                              "--compress", "off")


def qemu_delta(bench, delta):
    delta.qemu.write(delta.pieces, bench.image("disk"))
    return delta.qemu.backup(delta.size)


def again_by(copy):
    """A program that finds out by itself what has changed, against a copy of the old disk."""
    def run(bench, delta):
        old = bench.memory / "again.img"
        work.copy_sparse(bench.image("disk"), old)
        try:
            return copy(delta.image, old)
        finally:
            old.unlink()
    return run


def slow(run):
    def only_if_asked(bench, prepared):
        if not bench.slow:
            raise peers.process.Failed("takes minutes: measured with --slow")
        return run(bench, prepared)
    return only_if_asked


def delta(percent, piece, targets=(), peers_too=False, quick=True):
    tools = {"vmreplica": send_delta, "qemu bitmap": qemu_delta}
    if peers_too:
        tools["rsync"] = slow(again_by(peers.rsync))
        if peers.installed("bdsync"):
            tools["bdsync"] = slow(again_by(peers.bdsync))
    name = f"{piece // 1024}k"
    return Row(f"delta-{percent}-{name}", f"{percent} % changed in pieces of {name}, in memory",
               tools, list(targets), quick=quick, prepare=prepare_delta(percent, piece),
               finish=finish_delta)


DELTAS = [
    delta(1, 65536, [target("qemu bitmap", 0.5)], peers_too=True),
    delta(0.1, 65536, quick=False),
    delta(5, 65536, quick=False),
    delta(0.1, 4096, quick=False),
    delta(1, 4096),
    delta(5, 4096, quick=False),
]


# --- the same changes on disks of several sizes -----------------------------------

def prepare_sizes(bench):
    """A replica each of 4 GiB, 64 GiB and 1 TiB, sparse, with the same amount of changes."""
    made = {}
    for name, size in (("4 GiB", 4 * GIB), ("64 GiB", 64 * GIB), ("1 TiB", 1024 * GIB),
                       ("1 TiB spread", 1024 * GIB)):
        folder = Bench(bench.disk, bench.memory / name.replace(" ", ""), bench.options)
        folder.memory.mkdir()
        folder.image = bench.image
        made[name] = prepare_delta(1, 65536, size, qemu=False,
                                   spread="spread" in name)(folder)
    return made


def finish_sizes(bench, made):
    for prepared in made.values():
        finish_delta(bench, prepared)


def send_size(name):
    return lambda bench, made: send_delta(bench, made[name])


SIZES = [Row("delta-sizes", "the changes of delta-1-64k on a sparse disk of 1 TiB, and of others", {
    "vmreplica": send_size("1 TiB"),
    "vmreplica spread": send_size("1 TiB spread"),
    "vmreplica 64 GiB": send_size("64 GiB"),
    "vmreplica 4 GiB": send_size("4 GiB"),
}, [target("vmreplica 4 GiB", 1.1)], prepare=prepare_sizes, finish=finish_sizes)]


# --- small passes ------------------------------------------------------------------

def send_small(bench, prepared):
    """On disk, as the syncs are what such a pass consists of."""
    return prepared.replica.send(prepared.image, "--extents", prepared.extents, "--chunk", 4096,
                                 "--passes", 5 if bench.quick else 20, "--interval", 1)


def prepare_small(bench):
    image = bench.image("disk")
    pieces = work.choose_pieces(bench.size, 300 << 10, 4096, seed=7)
    extents = bench.memory / "extents"
    work.write_extents(extents, pieces)
    replica = ours.Replica(bench.disk / "store")
    empty = bench.memory / "empty.img"
    with open(empty, "wb") as file:
        file.truncate(bench.size)
    replica.send(empty, "--chunk", 4096)
    empty.unlink()
    return Delta(image, extents, pieces, bench.size, 4096, replica)


SMALL = [Row("latency", "300 KiB changed in pieces of 4k, each second, on disk",
             {"vmreplica": send_small}, most_rounds=1, prepare=prepare_small,
             finish=lambda bench, prepared: prepared.replica.end())]

# --- a long distance ----------------------------------------------------------------

@dataclasses.dataclass
class Distance:
    image: pathlib.Path
    link: link.Link


def prepare_distance(bench):
    image = bench.memory / "noise.img"
    work.noise_image(image, (32 if bench.quick else 256) * MIB)
    return Distance(image, link.Link(bench.link_rate))


def finish_distance(_, prepared):
    prepared.link.end()
    prepared.image.unlink()


def ours_over_link(bench, prepared):
    replica = ours.Replica(bench.memory / "store", host=link.FAR_ADDRESS,
                           prefix_send=prepared.link.near, prefix_receive=prepared.link.far)
    try:
        return replica.send(prepared.image, "--compress", "off")
    finally:
        replica.end()


def stream_over_link(_, prepared):
    return peers.stream(prepared.image, prepared.link.near, prepared.link.far, link.FAR_ADDRESS)


def full_link(_, prepared):
    seconds = prepared.image.stat().st_size / prepared.link.bytes_per_second
    return {"seconds": seconds, "cpu_send": 0, "cpu_receive": 0, "rss_send": 0, "rss_receive": 0,
            "wire_bytes": prepared.image.stat().st_size}


FAR = [Row("distance", "noise over a shaped link: 50 ms, one packet of 1000 lost", {
    "vmreplica": ours_over_link,
    "socat": stream_over_link,
    "the link": full_link,
}, [target("the link", 1.15)], prepare=prepare_distance, finish=finish_distance)]

ROWS = INITIAL + PACKED + DELTAS + SIZES + SMALL + FAR
