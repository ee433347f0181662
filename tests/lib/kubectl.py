"""kubectl - a kubectl with a home of its own against a server under test, and transcripts: commands with the
output a real cluster gives, as texts.

The program is the one named by KUBECTL, else the one on PATH. A transcript is

    $ create configmap one --from-literal=a=1
    configmap/one created
    $ get configmap none
    Error from server (NotFound): configmaps "none" not found
    [1]

Commands are what follows `kubectl`; `[1]` is a status other than 0; standard output comes first, then standard
error. `<*>` stands for anything within a line, a line `<...>` for any lines, none too. A text `NS` that stands
alone is the namespace. Commands with words of the shell begin with `$ sh: ` and find kubectl as `kubectl`.
"""
import contextlib
import json
import os
import re
import selectors
import shlex
import shutil
import subprocess
import tempfile
import time

PROGRAM = os.environ.get("KUBECTL") or shutil.which("kubectl")
WAIT_SECONDS_MAX = 30
COMMAND_SECONDS_MAX = 60
NEWEST = 1000
# Newer ones tell the namespace of what they delete; all number the pieces of a temporary name.
DIFFERENCES = ((r'(deleted) from \S+ namespace', r"\1"),)


def minor_version():
    """35 of 1.35; NEWEST of one that was built without being told its version."""
    run = subprocess.run([PROGRAM, "version", "--client", "-o", "json"], capture_output=True, text=True)
    version = json.loads(run.stdout)["clientVersion"]
    minor = re.match(r"\d+", version.get("minor", ""))
    return int(minor.group(0)) if minor and version.get("major") == "1" else NEWEST


class Kubectl:
    """Commands against one server; with a namespace, in that one. Its folder is their working directory."""

    def __init__(self, kubeconfig, namespace=None):
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self.home = tempfile.mkdtemp(prefix="kubectl-home.")

    def close(self):
        shutil.rmtree(self.home, ignore_errors=True)

    def command(self, *words):
        space = [f"--namespace={self.namespace}"] if self.namespace else []
        return [PROGRAM, f"--kubeconfig={self.kubeconfig}", *space, *words]

    def environment(self):
        env = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "KUBE_EDITOR", "EDITOR")}
        return dict(env, HOME=self.home, LC_ALL="C", TMPDIR=self.home)

    def run(self, *words, stdin=""):
        """(status, standard output, standard error)."""
        return self.finish(self.command(*words), stdin)

    def shell(self, line):
        """The same of a line for the shell, in which kubectl is this one."""
        function = "kubectl() { " + shlex.join(self.command()) + ' "$@"; }\n'
        return self.finish(["sh", "-c", function + line], "")

    def finish(self, command, stdin):
        done = subprocess.run(command, input=stdin, capture_output=True, text=True,
                              timeout=COMMAND_SECONDS_MAX, env=self.environment(), cwd=self.home)
        return done.returncode, done.stdout, done.stderr

    def __call__(self, *words, status=0, stdin=""):
        """What it prints; with a status other than 0, what it complains of."""
        got, out, err = self.run(*words, stdin=stdin)
        if got != status:
            raise AssertionError(f"kubectl {' '.join(words)}: status {got}\n{out}{err}")
        return out if status == 0 else err

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.home, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, mode)
        return path

    def play(self, transcript):
        """Runs a transcript; the first command whose output is another one fails."""
        for command, wanted in commands_of(transcript):
            if self.namespace:
                wanted = re.sub(r"\bNS\b", self.namespace, wanted)
                command = re.sub(r"\bNS\b", self.namespace, command)
            if command.startswith("sh: "):
                status, out, err = self.shell(command[4:])
            else:
                status, out, err = self.run(*shlex.split(command))
            got = out + ("" if out.endswith("\n") or not out else "\n") + err
            got += f"[{status}]\n" if status else ""
            for pattern, text in DIFFERENCES:
                got = re.sub(pattern, text, got)
            if not matches(got, wanted):
                raise AssertionError(f"$ kubectl {command}\n--- got\n{got}--- wanted\n{wanted}---")

    @contextlib.contextmanager
    def watching(self, *words):
        """Lines of a kubectl that watches: a function that waits for the next one."""
        process = subprocess.Popen(self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   env=self.environment(), cwd=self.home)
        waiter = selectors.DefaultSelector()
        waiter.register(process.stdout, selectors.EVENT_READ)
        pending = b""

        def next_line(seconds=WAIT_SECONDS_MAX):
            nonlocal pending
            deadline = time.monotonic() + seconds
            while b"\n" not in pending:
                if not waiter.select(max(0, deadline - time.monotonic())):
                    raise TimeoutError(f"no further line; so far: {pending!r}")
                piece = os.read(process.stdout.fileno(), 65536)
                if not piece:
                    raise AssertionError(f"kubectl ended; so far: {pending!r}")
                pending += piece
            line, pending = pending.split(b"\n", 1)
            return line.decode()

        try:
            yield next_line
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def commands_of(transcript):
    """(command, wanted output) of each."""
    found = []
    for line in transcript.strip("\n").split("\n"):
        if line.startswith("$ "):
            found.append([line[2:], ""])
        else:
            found[-1][1] += line + "\n"
    return found


def matches(got, wanted):
    """Trailing blanks of lines do not count."""
    pattern = ""
    for line in wanted.splitlines():
        if line == "<...>":
            pattern += "(?:.*\n)*?"
        else:
            pattern += "[^\n]*?".join(re.escape(part) for part in line.rstrip().split("<*>")) + " *\n"
    return re.fullmatch(pattern, re.sub(r"[ \t]+\n", "\n", got)) is not None
