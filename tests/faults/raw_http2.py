"""A gRPC client of bare HTTP/2 frames, which can stop in the middle of anything."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW = 4  # of the settings
Frame = tuple[int, int, bytes]
"""Type, flags and payload."""


class RawClient:
    """One connection. It acknowledges nothing and reads nothing unless it is told to.

    Args:
        target: "127.0.0.1:50051".
        window: bytes that the server may send of each reply before it is asked for more.
    """

    def __init__(self, target: str, window: int = 65_535) -> None:
        host, port = target.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self._stream = -1
        self.socket.sendall(_PREFACE + _frame(SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW, window)))

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def call(self, path: str, message: bytes, *, sent: int | None = None) -> None:
        """Begin a call, whose message fits in one frame.

        Args:
            sent: how many bytes of the message are sent. None: all.
        """
        assert len(message) < 16_000
        self._stream += 2
        names = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "test"}
        headers = b"".join(map(_field, (names | {"te": "trailers", "content-type": "application/grpc"}).items()))
        body = (b"\0" + struct.pack(">I", len(message)) + message)[: None if sent is None else 5 + sent]
        self.socket.sendall(
            _frame(HEADERS, _END_HEADERS, self._stream, headers)
            + _frame(DATA, _END_STREAM if sent is None else 0, self._stream, body)
        )

    def half_a_frame(self) -> None:
        """Announce a frame, and send its first bytes only."""
        self.socket.sendall(struct.pack(">I", 1000)[1:] + bytes([DATA, 0]) + struct.pack(">I", max(self._stream, 1)))
        self.socket.sendall(bytes(10))

    def ping(self) -> None:
        self.socket.sendall(_frame(PING, 0, 0, bytes(8)))

    def acknowledge(self, frame: Frame) -> None:
        """Answer the server's ping."""
        self.socket.sendall(_frame(PING, _ACK, 0, frame[2]))

    def frames(self, timeout: float) -> Iterator[Frame]:
        """Yield what the server sends until it hangs up.

        Raises:
            TimeoutError: it sends nothing for so many seconds.
        """
        self.socket.settimeout(timeout)
        try:
            while len(head := self._read(9)) == 9:
                yield head[3], head[4], self._read(int.from_bytes(head[:3], "big"))
        except ConnectionError:
            return

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (more := self.socket.recv(size - len(data))):
            data += more
        return data


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _field(item: tuple[str, str]) -> bytes:
    """Return a header as HPACK has it without its tables and its compression."""
    name, value = (text.encode() for text in item)
    assert len(name) < 127 > len(value)
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
