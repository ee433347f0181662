"""h2raw - HTTP/2 frames by hand, for tests that a decent client library would refuse to send.

Requests use literal header fields without indexing and without Huffman coding, so a block is plain bytes.
Responses are only framed, not decoded: tests that need a status use curl."""
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = \
    0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + \
        struct.pack(">I", stream) + payload


def integer(value, prefix_bits, first=0):
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([first | value])
    out = [first | limit]
    value -= limit
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    out.append(value)
    return bytes(out)


def literal(name, value):
    return b"\x00" + integer(len(name), 7) + name + integer(len(value), 7) + value


def grpc_headers(path, extra=()):
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path),
              (b":authority", b"localhost"), (b"content-type", b"application/grpc"),
              (b"te", b"trailers"), *extra]
    return b"".join(literal(n, v) for n, v in fields)


def message(body, compressed=0, length=None):
    return struct.pack(">BI", compressed, len(body) if length is None else length) + body


def field(number, data):
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value):
    out = bytearray()
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    out.append(value)
    return bytes(out)


class Connection:
    """A raw client connection after its preface and SETTINGS."""

    def __init__(self, port, timeout=15, settings=b""):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        self.buffer = b""

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def frames(self):
        """Frames as (kind, flags, stream, payload) until the server closes or stays silent."""
        while True:
            while len(self.buffer) < 9:
                if not self._more():
                    return
            length = int.from_bytes(self.buffer[:3], "big")
            while len(self.buffer) < 9 + length:
                if not self._more():
                    return
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big") & 0x7fffffff
            payload = self.buffer[9:9 + length]
            self.buffer = self.buffer[9 + length:]
            if kind == SETTINGS and not flags & ACK:
                self.send(frame(SETTINGS, ACK))
            yield kind, flags, stream, payload

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except (socket.timeout, ConnectionError):
            return False
        self.buffer += data
        return bool(data)

    def close(self):
        self.socket.close()
