"""grpcraw - unary gRPC calls with requests encoded by hand, for tests that need bytes and speed.

python3-etcd3 decodes every message in Python; here a request is bytes made by `field` and `number`, an
answer a dict of lists made by `parse`. Errors are Refused(code, text). Needs grpc (python3-etcd3 has it
installed); `grpc` is None without.
"""
import os
import subprocess

os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
try:
    import grpc
except ImportError:
    grpc = None

from h2raw import field, varint

KV, LEASE, MAINTENANCE = "/etcdserverpb.KV/", "/etcdserverpb.Lease/", "/etcdserverpb.Maintenance/"
NOSPACE_TEXT = "etcdserver: mvcc: database space exceeded"
TOO_LARGE_TEXT = "etcdserver: request is too large"
RESOURCE_EXHAUSTED, UNAVAILABLE, INVALID_ARGUMENT = 8, 14, 3


class Refused(Exception):
    """The server's answer was an error."""

    def __init__(self, code, text):
        super().__init__(f"code {code}: {text}")
        self.code, self.text = code, text


def number(field_number, value):
    """A varint field; negative numbers as int64 does."""
    return varint(field_number << 3) + varint(value & 0xffffffffffffffff)


def take_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def parse(data):
    """{field number: [int or bytes, ...]} of a message."""
    out, at = {}, 0
    while at < len(data):
        tag, at = take_varint(data, at)
        if tag & 7 == 0:
            value, at = take_varint(data, at)
        elif tag & 7 == 2:
            length, at = take_varint(data, at)
            value = data[at:at + length]
            at += length
        else:
            raise AssertionError(f"unexpected wire type {tag & 7}")
        out.setdefault(tag >> 3, []).append(value)
    return out


def int_of(message, field_number):
    value = message.get(field_number, [0])[-1]
    return value - (1 << 64) if value >= 1 << 63 else value


def put_body(key, value, lease=0):
    return field(1, key) + field(2, value) + (number(3, lease) if lease else b"")


def txn_of_puts(pairs):
    """TxnRequest { success: puts }."""
    return b"".join(field(2, field(2, put_body(k, v))) for k, v in pairs)


class Row:
    def __init__(self, data):
        m = parse(data)
        self.key = m.get(1, [b""])[-1]
        self.create, self.mod, self.version = int_of(m, 2), int_of(m, 3), int_of(m, 4)
        self.value = m.get(5, [b""])[-1]


class Client:
    """One channel to one port. Calls wait up to `timeout` seconds."""

    def __init__(self, port, timeout=20):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[
            ("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1)])
        self.timeout = timeout
        self.methods = {}

    def method(self, path):
        if path not in self.methods:
            self.methods[path] = self.channel.unary_unary(
                path, request_serializer=None, response_deserializer=None)
        return self.methods[path]

    def raw(self, path, body):
        """The answer's bytes."""
        try:
            return self.method(path)(body, timeout=self.timeout)
        except grpc.RpcError as e:
            raise Refused(e.code().value[0], e.details()) from None

    def start(self, path, body):
        """A call in the background; result with `finish`."""
        return self.method(path).future(body, timeout=self.timeout)

    @staticmethod
    def finish(future):
        try:
            return future.result()
        except grpc.RpcError as e:
            raise Refused(e.code().value[0], e.details()) from None

    def call(self, path, body=b""):
        return parse(self.raw(path, body))

    def put(self, key, value, lease=0):
        """The revision of the write."""
        answer = self.call(KV + "Put", put_body(key, value, lease))
        return int_of(parse(answer[1][0]), 3)

    def delete(self, key, end=b""):
        """(keys deleted, revision)."""
        answer = self.call(KV + "DeleteRange", field(1, key) + (field(2, end) if end else b""))
        return int_of(answer, 2), int_of(parse(answer[1][0]), 3)

    def txn_puts(self, pairs):
        answer = self.call(KV + "Txn", txn_of_puts(pairs))
        return int_of(parse(answer[1][0]), 3)

    def range(self, key, end=b"", limit=0, revision=0, serializable=False, keys_only=False,
              count_only=False):
        """(rows, count, revision of the store)."""
        body = field(1, key) + (field(2, end) if end else b"")
        body += number(3, limit) if limit else b""
        body += number(4, revision) if revision else b""
        for number_, flag in ((7, serializable), (8, keys_only), (9, count_only)):
            body += number(number_, 1) if flag else b""
        answer = self.call(KV + "Range", body)
        return ([Row(r) for r in answer.get(2, [])], int_of(answer, 4),
                int_of(parse(answer[1][0]), 3))

    def pages(self, key=b"\0", end=b"\0", size=1000, revision=0):
        """All rows of a range in pages of one revision."""
        while True:
            rows, count, now = self.range(key, end, size, revision)
            revision = revision or now
            yield from rows
            if len(rows) == count:
                return
            key = rows[-1].key + b"\0"

    def compact(self, revision, physical=False):
        self.call(KV + "Compact", number(1, revision) + (number(2, 1) if physical else b""))

    def alarms(self):
        """[(member id, type)] of the active ones."""
        answer = self.call(MAINTENANCE + "Alarm")
        return [(int_of(m, 1), int_of(m, 2)) for m in map(parse, answer.get(2, []))]

    def disarm(self):
        """Ends every alarm, as `etcdctl alarm disarm` does."""
        for member, kind in self.alarms():
            self.call(MAINTENANCE + "Alarm", number(1, 2) + number(2, member) + number(3, kind))

    def defragment(self):
        self.call(MAINTENANCE + "Defragment")

    def status(self):
        """{db_size, db_size_in_use, revision, errors}."""
        answer = self.call(MAINTENANCE + "Status")
        return {"db_size": int_of(answer, 3), "in_use": int_of(answer, 9),
                "revision": int_of(parse(answer[1][0]), 3), "errors": answer.get(8, [])}

    def hash_kv(self, revision=0):
        answer = self.call(MAINTENANCE + "HashKV", number(1, revision) if revision else b"")
        return int_of(answer, 2)

    def close(self):
        self.channel.close()


def metrics(server):
    """{name with its labels: value} of a server's /metrics."""
    out = {}
    for line in server.get("/metrics")[1].splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            out[name] = float(value)
    return out


def run(*words):
    """Runs a command; True when it worked."""
    return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          stdin=subprocess.DEVNULL).returncode == 0
