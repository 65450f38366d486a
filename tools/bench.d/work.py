# SPDX-License-Identifier: GPL-2.0-or-later
"""What is copied: images of disks, and lists of what changed on them."""
import ctypes
import os
import pathlib
import random
import shutil
import subprocess

MIB = 1 << 20


def fill_tree(tree, wanted):
    """Copies files of this system until there are so many bytes: what disks hold."""
    got = 0
    while got < wanted:
        before = got
        for base in ("/usr/lib", "/usr/bin", "/usr/share"):
            for folder, folders, names in os.walk(base):
                folders.sort()
                for name in sorted(names):
                    path = os.path.join(folder, name)
                    if os.path.islink(path) or not os.path.isfile(path):
                        continue
                    copy = pathlib.Path(f"{tree}/{before}{path}")
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy)
                    got += copy.stat().st_size
                    if got >= wanted:
                        return


def real_image(path, size):
    """An ext4 of @size bytes, about half full; kept, since it takes a minute to make."""
    if path.exists() and path.stat().st_size == size:
        return
    tree, part = path.with_suffix(".tree"), path.with_suffix(".part")
    shutil.rmtree(tree, ignore_errors=True)
    fill_tree(tree, size * 33 // 64)
    with open(part, "wb") as image:
        image.truncate(size)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, part], check=True)
    shutil.rmtree(tree)
    part.rename(path)


def noise_image(path, size):
    """Nothing that packs."""
    with open(path, "wb") as image:
        for _ in range(size // (8 * MIB)):
            image.write(os.urandom(8 * MIB))


def sparse_image(path, size):
    """A MiB of data in each 64 MiB."""
    with open(path, "wb") as image:
        image.truncate(size)
        for at in range(0, size, 64 * MIB):
            os.pwrite(image.fileno(), os.urandom(MIB), at)


def copy_sparse(source, target):
    subprocess.run(["cp", "--sparse=always", source, target], check=True)


def choose_pieces(size, changed, piece, seed):
    """Places of @changed bytes in pieces, ascending, as [(offset, length)]."""
    places = random.Random(seed).sample(range(size // piece), max(1, changed // piece))
    return [(place * piece, piece) for place in sorted(places)]


def write_extents(path, pieces):
    path.write_text("".join(f"{offset} {length}\n" for offset, length in pieces))


def write_pieces(image, pieces, donor):
    """Puts data of @donor, a file with real data, to the pieces of @image."""
    with open(donor, "rb") as data, open(image, "r+b") as disk:
        stock = data.read(64 * MIB).replace(bytes(4096), b"")
        for number, (offset, length) in enumerate(pieces):
            at = number * length % (len(stock) - length)
            os.pwrite(disk.fileno(), stock[at:at + length], offset)
        os.fsync(disk.fileno())


def forget(path):
    """Drops what the kernel has cached of a file, so that a run reads it from its disk."""
    with open(path, "rb") as file:
        os.fdatasync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def settle():
    """Lets what earlier runs wrote reach the disks."""
    ctypes.CDLL(None).sync()
