"""A real redis-server on a Unix socket of its own; it ends with whoever started it."""
import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from .build import wait_until

SERVER = shutil.which("redis-server")


def free_ports(n):
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [s.getsockname()[1] for s in found]


class Redis:
    def __init__(self, password=None, cluster=False):
        self.dir = tempfile.mkdtemp(prefix="transom-redis-")  # short: a socket's path has 107 bytes
        self.path = f"{self.dir}/s"
        self.password, self.cluster = password, cluster
        self.process = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        self.stop()
        command = [SERVER, "--port", "0", "--unixsocket", self.path, "--save", "", "--appendonly", "no", "--dir", self.dir]
        if self.password:
            command += ["--requirepass", self.password]
        if self.cluster:  # it needs ports; nobody else comes to them
            port, bus = free_ports(2)
            command += ["--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--cluster-port", str(bus)]
        if shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_until("redis-server answers", self.answers, 20)

    def answers(self):
        try:
            return bool(self.say("PING"))
        except OSError:
            return False

    def say(self, *commands):
        """Inline commands on a connection of their own; what was answered."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(self.path)
            auth = [f"AUTH {self.password}"] if self.password else []
            s.sendall("".join(c + "\r\n" for c in [*auth, *commands]).encode())
            s.shutdown(socket.SHUT_WR)
            answer = b""
            while part := s.recv(65536):
                answer += part
        return answer.decode()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait(20)
        self.process = None
        Path(self.path).unlink(missing_ok=True)

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
