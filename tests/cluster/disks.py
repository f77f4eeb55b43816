"""Disks of machines: ext4 images that lose their power, fill up and forget nothing else."""

import errno
import fcntl
import os
import pathlib
import struct
import time

from world import folder, run

# Everything that the file system has not written is dropped, its journal in memory too.
EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
SIZE = 768 << 20


class Disk:
    """An image that is mounted at `path`. Octets that were written and not synced are lost by `cut`."""

    def __init__(self, path, size=SIZE):
        self.path, self.image = folder(path), pathlib.Path(f"{path}.ext4")
        with self.image.open("wb") as image:
            image.truncate(size)
        # Nothing is kept for root, who fills it up.
        run("mkfs.ext4", "-q", "-m", "0", "-F", self.image)
        self.mount()

    def mount(self):
        run("mount", "-o", "loop,noatime", self.image, self.path)

    def unmount(self):
        for _ in range(50):
            if run("umount", self.path, check=False).returncode == 0:
                return
            time.sleep(0.1)
        run("umount", self.path)

    def cut(self):
        """From now on nothing reaches the medium. Call `restart` when its processes are gone."""
        directory = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(directory)

    def restart(self):
        self.unmount()
        self.mount()

    def fill(self):
        """Leaves no room."""
        with (self.path / "fill").open("ab") as file:
            size = 64 << 20
            while size >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), file.tell(), size)
                    file.seek(size, os.SEEK_CUR)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def make_room(self):
        (self.path / "fill").unlink()

    def stop(self):
        run("umount", self.path, check=False)
        self.image.unlink(missing_ok=True)
