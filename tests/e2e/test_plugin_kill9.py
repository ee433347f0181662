#!/usr/bin/python3
"""kill -9 at random moments while clients put keys and hello stamps them, again and again on one data directory: in
the end each key was stamped, and once. KILLS=n sets how often (25), SEED the dice."""
import os
import random
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from kvdtest import Server, Tally, equal  # noqa: E402
from plugintest import Operator, lines  # noqa: E402
from stamptest import Putter, await_stamps, build_hello, check_stamps  # noqa: E402

KILLS = int(os.environ.get("KILLS", "25"))
PUTTERS = 4
SEED = int(os.environ.get("SEED", str(int(time.time()))))


def main():
    tally = Tally()
    rand = random.Random(SEED)
    print(f"SEED={SEED} KILLS={KILLS}")
    folder = tempfile.mkdtemp(prefix="kvd-hello.")
    server = Server(flags=["--plugin", build_hello(folder)])
    acked = []
    try:
        for round_ in range(KILLS):
            server.start()
            putters = [Putter(server, f"{round_}/{n}") for n in range(PUTTERS)]
            for p in putters:
                p.start()
            threading.Event().wait(rand.uniform(0.02, 0.4))  # the random moment
            server.kill()
            for p in putters:
                acked += p.stop()
        server.start()
        await_stamps(server)
        with tally.case(f"{KILLS} kills, {len(acked)} acknowledged keys: each is stamped, once"):
            assert len(acked) > KILLS, "hardly anything was put: the load is broken"
            print(f"     {check_stamps(server, acked)} keys in the history")
        with tally.case("none of the kills was held against the plugin"):
            info = Operator(server, "hello").info()
            equal((info["state"], info["strikes"]), ("leading", 0), info)
            equal(lines(server, "the process died inside a plugin last time"), [], "lines")
        with tally.case("each start led in a newer term"):
            terms = [line["term"] for line in lines(server, "plugin leads")]
            equal(terms, sorted(set(terms)), "terms")
    finally:
        server.close()
        shutil.rmtree(folder)
    tally.close()


main()
