# SPDX-License-Identifier: MIT
"""A pooler in transaction mode: each transaction of a client may go to another connection.

It speaks just enough of the protocol, does what PgBouncer does by default, and is mean:
it never gives a client the same connection of the server twice in a row.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CANCEL, SSL, GSS = 80877102, 80877103, 80877104


class Pooler:
    """Listens on a socket in a directory, and forwards to a server's."""

    def __init__(self, server_socket: str, directory: Path, *, size: int = 4) -> None:
        self._server_socket = server_socket
        self.directory = directory
        self._free: deque[_ServerSide] = deque()
        self._made = 0
        self._size = size
        self._turn = threading.Condition()
        self._closed = False
        self.lost = b""
        """A word: the next message with it is carried out, and the client's line breaks then."""
        self._sockets: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / ".s.PGSQL.5432"))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed = True
        with socket.socket(socket.AF_UNIX) as knock:
            knock.connect(str(self.directory / ".s.PGSQL.5432"))
        self._thread.join()
        self._listener.close()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self._sockets.append(client)
            if self._closed:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server: _ServerSide | None = None
        previous: _ServerSide | None = None
        try:
            startup = _read_startup(client)
            if startup is None:
                return
            server = self._take(startup, None)
            client.sendall(server.greeting())
            self._give(server)
            previous, server = server, None
            while True:
                kind, message = _read_message(client)
                if kind == b"X":
                    return
                if server is None:
                    server = self._take(startup, previous)
                server.socket.sendall(message)
                if self.lost and self.lost in message:
                    self.lost = b""
                    while _read_message(server.socket)[0] != b"Z":
                        pass
                    return
                if kind in b"QS" and server.answer(client):
                    self._give(server)
                    previous, server = server, None
        except OSError:
            return
        finally:
            client.close()
            if server is not None:
                server.socket.close()
                with self._turn:
                    self._made -= 1
                    self._turn.notify()

    def _take(self, startup: bytes, but: _ServerSide | None) -> _ServerSide:
        with self._turn:
            while True:
                others = [side for side in self._free if side is not but]
                if others:
                    self._free.remove(others[0])
                    return others[0]
                if self._made < self._size:
                    self._made += 1
                    break
                self._turn.wait()
        side = _ServerSide(self._server_socket, startup)
        self._sockets.append(side.socket)
        return side

    def _give(self, side: _ServerSide) -> None:
        with self._turn:
            self._free.append(side)
            self._turn.notify()


class _ServerSide:
    """A connection to the server, past its greeting."""

    def __init__(self, path: str, startup: bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.sendall(startup)
        self._parameters = b""
        while True:
            kind, message = _read_message(self.socket)
            if kind == b"E":
                raise OSError(message)
            if kind == b"S":
                self._parameters += message
            if kind == b"Z":
                return

    def greeting(self) -> bytes:
        """What a client is told: no process of the server's is its own."""
        key = b"K" + struct.pack("!i", 12) + os.urandom(8)
        return b"R" + struct.pack("!ii", 8, 0) + self._parameters + key + b"Z\0\0\0\x05I"

    def answer(self, client: socket.socket) -> bool:
        """Forward up to the end of the answer; whether the transaction is over."""
        while True:
            kind, message = _read_message(self.socket)
            client.sendall(message)
            if kind == b"G":
                self._copy_in(client)
            if kind == b"Z":
                return message[-1:] == b"I"

    def _copy_in(self, client: socket.socket) -> None:
        while True:
            kind, message = _read_message(client)
            self.socket.sendall(message)
            if kind in b"cf":
                return


def _read_startup(client: socket.socket) -> bytes | None:
    while True:
        head = _read(client, 8)
        length, code = struct.unpack("!ii", head)
        rest = _read(client, length - 8)
        if code in (SSL, GSS):
            client.sendall(b"N")
        elif code == CANCEL:
            return None
        else:
            return head + rest


def _read_message(source: socket.socket) -> tuple[bytes, bytes]:
    head = _read(source, 5)
    (length,) = struct.unpack("!i", head[1:])
    return head[:1], head + _read(source, length - 4)


def _read(source: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = source.recv(count - len(data))
        if not part:
            raise OSError("closed")
        data += part
    return bytes(data)
