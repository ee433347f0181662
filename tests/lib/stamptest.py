"""stamptest - the sample plugin hello under load: clients put empty keys, hello stamps each; what came of it is
read from the history of revisions, where nothing can be made good afterwards."""
import os
import threading

os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
import etcd3  # noqa: E402

from kvdtest import ROOT, equal  # noqa: E402
from plugintest import await_true, build  # noqa: E402

UNLIMITED = [("grpc.max_receive_message_length", -1)]
STAMP = b"stamped"


def build_hello(folder):
    with open(os.path.join(ROOT, "plugins/sample/hello/hello.c"), encoding="utf-8") as f:
        return build(folder, "hello", f.read())


class Putter(threading.Thread):
    """Puts each of its keys once, empty, until it is stopped or the connection breaks. A put that was not answered
    may have happened: it is not put again."""

    def __init__(self, server, name):
        super().__init__()
        self.client = etcd3.client(host="127.0.0.1", port=server.port, timeout=10)
        self.name = name
        self.acked = []
        self.over = threading.Event()
        self.failure = None

    def run(self):
        try:
            while not self.over.is_set():
                key = f"/hello/{self.name}/{len(self.acked)}"
                self.client.put(key, "")
                self.acked.append(key)
        except Exception as e:  # a kill ends it so
            self.failure = e

    def stop(self):
        self.over.set()
        self.join()
        self.client.close()
        return self.acked


def history(server):
    """key -> its values in the order of their revisions, of all keys under /hello/ from revision 1 on."""
    client = etcd3.client(host="127.0.0.1", port=server.port, timeout=60, grpc_options=UNLIMITED)
    last = client.put("end of history", "x").header.revision
    found = {}
    responses, cancel = client.watch_response("\0", range_end="\0", start_revision=1)
    alarm = threading.Timer(120, cancel)
    alarm.start()
    seen = 0
    for response in responses:
        for event in response.events:
            seen = event.mod_revision
            if event.key.startswith(b"/hello/"):
                found.setdefault(event.key.decode(), []).append(event.value)
        if seen >= last:
            break
    alarm.cancel()
    cancel()  # the client's watching thread may still be at work: its connection goes with this process
    equal(seen, last, "the last revision of the history")
    return found


def await_stamps(server, seconds=60):
    """Until no key under /hello/ is empty."""
    client = etcd3.client(host="127.0.0.1", port=server.port, timeout=30, grpc_options=UNLIMITED)
    await_true("all stamped", lambda: all(v for v, _ in client.get_prefix("/hello/")), seconds)
    client.close()


def check_stamps(server, acked):
    """Each key that was put has been stamped, once. Returns how many keys there are."""
    found = history(server)
    missing = [key for key in acked if key not in found]
    equal(missing, [], "acknowledged keys that are lost")
    wrong = {key: values for key, values in found.items() if values != [b"", STAMP]}
    equal(wrong, {}, "keys whose history is not: put, stamped")
    return len(found)
