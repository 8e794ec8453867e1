"""Records what is done to files, and makes the states in which a power loss may leave them.

Whatever was not synced is kept or lost, each by itself: a write to a file until the file is
synced, a name in a directory until the directory is. Of one write, too, any pages may be
kept and the others lost. What SQLite does with its own files is
SQLite's promise: they are as they were at that moment, if the file's name is there.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field

SQLITE = "metadata.sqlite3"
PAGE = 512
"""The least that a disk writes at a time."""
FATES = ("kept", "lost", "torn", "zeros", "headless", "holed")
"""Of a pending change; the last four make a difference to writes alone."""
SINGLE_FATES = (("kept", "lost"), ("lost", "kept"), ("headless", "kept"), ("holed", "kept"))
"""Of one change, and of all others."""


@dataclass
class Node:
    """A file or a directory: what is on the disk, and what is still on its way there."""

    is_directory: bool = False
    content: bytes = b""
    names: dict[str, Node] = field(default_factory=dict)
    pending: list[tuple] = field(default_factory=list)

    def settle(self):
        for change in self.pending:
            apply(self, change)
        self.pending.clear()


def apply(node, change):
    kind, *rest = change
    if kind == "write":
        offset, data = rest
        node.content = (
            node.content[:offset].ljust(offset, b"\0") + data + (node.content[offset + len(data) :])
        )
    elif kind == "truncate":
        node.content = node.content[: rest[0]].ljust(rest[0], b"\0")
    elif kind == "name":
        name, other = rest
        node.names[name] = other
    elif kind == "move":
        old, new = rest
        other = node.names.pop(old, None)
        if other is not None:
            node.names[new] = other
    else:
        node.names.pop(rest[0], None)


class Recorder:
    """Stands between the process and `os` while it is entered; `log` is what was done."""

    CALLS = ("open", "write", "fsync", "ftruncate", "replace", "rename", "link", "unlink", "mkdir")

    def __init__(self, root):
        self.root = os.path.realpath(root)
        self.log = []
        self._ids = {os.stat(self.root).st_ino: 0}
        self._sqlite = {}
        self._named = set()

    def __enter__(self):
        self._own = {name: getattr(os, name) for name in self.CALLS}
        for name in self.CALLS:
            setattr(os, name, getattr(self, f"_{name}"))
        return self

    def __exit__(self, *_):
        for name, own in self._own.items():
            setattr(os, name, own)

    def say(self, *event):
        """Note an event, after what SQLite did before it."""
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                if name.startswith(SQLITE) and not name.endswith(("-shm", ".tmp")):
                    with open(path, "rb") as file:
                        content = file.read()
                    if self._sqlite.get(path) != content:
                        self._sqlite[path] = content
                        self.log.append(("sqlite", os.path.relpath(path, self.root), content))
        for path in [path for path in self._sqlite if not os.path.exists(path)]:
            del self._sqlite[path]
            self.log.append(("sqlite", os.path.relpath(path, self.root), None))
        self.log.append(event)

    def _id(self, inode, path=None):
        """The number of a file or directory; of one that others wrote, its content, too."""
        if inode not in self._ids:
            self._ids[inode] = len(self._ids) + len(self.log)
            self.say("file", self._ids[inode])
            if path is not None and os.path.isfile(path):
                with open(path, "rb") as file:
                    self.say("pending", self._ids[inode], ("write", 0, file.read()))
        return self._ids[inode]

    def _directory(self, path, dir_fd):
        """The number of the directory in which a path lies; None outside the root."""
        if dir_fd is not None and not os.path.dirname(path):
            return self._ids.get(os.fstat(dir_fd).st_ino)
        folder = os.path.dirname(os.path.abspath(path))
        return self._ids.get(os.stat(folder).st_ino) if os.path.isdir(folder) else None

    def _open(self, path, flags, mode=0o777, *, dir_fd=None):
        known = flags & os.O_CREAT and self._exists(path, dir_fd)
        descriptor = self._own["open"](path, flags, mode, dir_fd=dir_fd)
        directory = self._directory(path, dir_fd) if flags & os.O_CREAT and not known else None
        if directory is not None:
            inode = os.fstat(descriptor).st_ino
            self._ids.pop(inode, None)
            self._name(directory, os.path.basename(path), self._id(inode))
        return descriptor

    def _name(self, directory, name, number):
        self._named.add(number)
        self.say("pending", directory, ("name", name, number))

    def _exists(self, path, dir_fd):
        try:
            os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _write(self, descriptor, data):
        status = os.fstat(descriptor)
        try:
            offset = os.lseek(descriptor, 0, os.SEEK_CUR)
        except OSError:
            return self._own["write"](descriptor, data)
        import fcntl

        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND:
            offset = status.st_size
        written = self._own["write"](descriptor, data)
        if status.st_ino in self._ids:
            change = ("write", offset, bytes(memoryview(data)[:written]))
            self.say("pending", self._ids[status.st_ino], change)
        return written

    def _ftruncate(self, descriptor, size):
        self._own["ftruncate"](descriptor, size)
        self.say("pending", self._id(os.fstat(descriptor).st_ino), ("truncate", size))

    def _fsync(self, descriptor):
        self._own["fsync"](descriptor)
        self.say("sync", self._id(os.fstat(descriptor).st_ino, f"/dev/fd/{descriptor}"))

    def _replace(self, old, new, *, src_dir_fd=None, dst_dir_fd=None):
        source, target = self._directory(old, src_dir_fd), self._directory(new, dst_dir_fd)
        inode = os.stat(old, dir_fd=src_dir_fd).st_ino
        if source is not None and self._ids.get(inode) not in self._named:
            # Somebody else made it, such as a handler.
            path = old if src_dir_fd is None else None
            self._name(source, os.path.basename(old), self._id(inode, path))
        self._own["replace"](old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        names = os.path.basename(old), os.path.basename(new)
        if source == target:
            self.say("pending", source, ("move", *names))
        else:  # each directory has to be synced for itself
            self._name(target, names[1], self._ids[inode])
            self.say("pending", source, ("remove", names[0]))

    _rename = _replace

    def _link(self, old, new, **how):
        self._own["link"](old, new, **how)
        folder = how.get("dst_dir_fd")
        inode = os.stat(new, dir_fd=folder).st_ino
        number = self._id(inode, new if folder is None else None)
        self._name(self._directory(new, folder), os.path.basename(new), number)

    def _unlink(self, path, *, dir_fd=None):
        directory = self._directory(path, dir_fd)
        self._own["unlink"](path, dir_fd=dir_fd)
        self.say("pending", directory, ("remove", os.path.basename(path)))

    def _mkdir(self, path, mode=0o777, *, dir_fd=None):
        directory = self._directory(path, dir_fd)
        self._own["mkdir"](path, mode, dir_fd=dir_fd)
        if directory is not None:
            inode = os.stat(path, dir_fd=dir_fd).st_ino
            self._ids[inode] = len(self._ids) + len(self.log)
            self.say("directory", self._ids[inode])
            self.say("pending", directory, ("name", os.path.basename(path), self._ids[inode]))


def states(log, *, seed=0, at_random=3):
    """Give ``(events that happened, {path: content})`` for every state that is allowed.

    After each event: all that is pending kept, all lost, each by itself kept, lost, or kept
    but for pages at its beginning or in its middle, and some mixtures at random, in which
    writes are also torn, or left as zeros.
    """
    chance = random.Random(seed)
    seen = set()
    for happened in range(len(log) + 1):
        if happened and log[happened - 1][0] in ("ack", "file", "directory"):
            continue
        number = len(_pending(_played(log[:happened])[0]))
        choices = [["kept"] * number, ["lost"] * number]
        for one in range(number):
            for this, others in SINGLE_FATES:
                choices.append([this if at == one else others for at in range(number)])
        choices += [[chance.choice(FATES) for _ in range(number)] for _ in range(at_random)]
        for choice in choices if number else choices[:1]:
            nodes, sqlite = _played(log[:happened])
            files = _left(nodes, sqlite, choice)
            key = hash((_acks(log, happened), tuple(sorted(files.items()))))
            if key not in seen:
                seen.add(key)
                yield happened, files


def _acks(log, happened):
    return sum(event[0] == "ack" for event in log[:happened])


def _played(log):
    """The files after these events, with what is pending, and SQLite's own."""
    nodes = {0: Node(is_directory=True)}
    sqlite = {}
    for kind, *rest in log:
        if kind in ("file", "directory"):
            nodes[rest[0]] = Node(is_directory=kind == "directory")
        elif kind == "sqlite":
            sqlite[rest[0]] = rest[1]
        elif kind == "sync":
            nodes[rest[0]].settle()
        elif kind == "all synced":  # as the system does by itself, after half a minute
            for node in nodes.values():
                node.settle()
        elif kind == "pending":
            number, change = rest
            if change[0] == "name":
                change = (*change[:2], nodes[change[2]])
            nodes[number].pending.append(change)
    return nodes, sqlite


def _pending(nodes):
    return [(node, change) for node in nodes.values() for change in node.pending]


def _left(nodes, sqlite, choice):
    """All files, by their paths, where each pending change has this fate."""
    spoilt = set()
    for (node, change), fate in zip(_pending(nodes), choice, strict=True):
        if change[0] == "write" and fate != "kept":
            spoilt.add(id(node))
        if fate == "lost":
            continue
        if change[0] == "write" and fate != "kept":
            _, offset, data = change
            change = ("write", offset, _damaged(data, fate))
        apply(node, change)
    files, numbers = {}, {}
    _collect(nodes[0], "", files, numbers)
    for path, content in sqlite.items():
        name = path.removesuffix("-wal")
        # Of a file that we made for SQLite, it does not know what was never synced.
        if name in files and content is not None and numbers[name] not in spoilt:
            files[path] = content
    return files


def _damaged(data, fate):
    """What is left of a write of which not all pages came to the disk."""
    if fate == "torn":
        return data[: len(data) // 2]
    hole = min(PAGE, len(data) // 2)
    start = {"zeros": 0, "headless": 0, "holed": (len(data) - hole) // 2}[fate]
    end = len(data) if fate == "zeros" else start + hole
    return data[:start] + bytes(end - start) + data[end:]


def _collect(node, path, files, numbers):
    for name, other in node.names.items():
        below = os.path.join(path, name)
        numbers[below] = id(other)
        if other.is_directory:
            files[below + "/"] = b""
            _collect(other, below, files, numbers)
        else:
            files[below] = other.content


def build(files, place):
    """Make these files."""
    for path in sorted(files):
        if path.endswith("/"):
            os.makedirs(os.path.join(place, path))
        else:
            with open(os.path.join(place, path), "wb", opener=_private) as file:
                file.write(files[path])


def _private(path, flags):
    return os.open(path, flags, 0o600)
