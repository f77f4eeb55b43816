"""Machines: network namespaces on one bridge, and the processes in them."""

import os
import pathlib
import signal
import subprocess
import time

NETWORK = "10.77.0"


class World:
    def __init__(self):
        self.bridge, self.machines = f"rc{os.getpid()}", {}

    def start(self):
        run("ip", "netns", "add", self.bridge)
        run("ip", "-n", self.bridge, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.bridge, "link", "set", "br0", "up")

    def machine(self, name, number):
        self.machines[name] = machine = Machine(self, name, f"{NETWORK}.{number}")
        return machine

    def stop(self):
        for machine in self.machines.values():
            machine.stop()
        run("ip", "netns", "delete", self.bridge, check=False)


class Machine:
    """One with an address. Its processes are killed with it."""

    def __init__(self, world, name, address):
        self.name, self.address, self.processes = name, address, []
        self.space = f"{world.bridge}-{name}"
        # `ip netns exec` would keep disks mounted: it gives each process mounts of its own.
        self.enter = ["nsenter", f"--net=/run/netns/{self.space}"]
        run("ip", "netns", "add", self.space)
        run("ip", "-n", self.space, "link", "set", "lo", "up")
        run("ip", "link", "add", "eth0", "netns", self.space, "type", "veth", "peer", "name", f"v-{name}", "netns", world.bridge)
        run("ip", "-n", world.bridge, "link", "set", f"v-{name}", "master", "br0", "up")
        self.add_address(address)
        run("ip", "-n", self.space, "link", "set", "eth0", "up")

    def add_address(self, address):
        run("ip", "-n", self.space, "address", "add", f"{address}/24", "dev", "eth0")

    def spawn(self, *command, log, user=None, environment=None):
        """Starts a process; returns it. It leads a group of its own."""
        switch = ["runuser", "-u", user, "--"] if user else []
        with open(log, "ab") as into:
            process = subprocess.Popen([*self.enter, *switch, *map(str, command)], stdout=into, stderr=into,
                                       stdin=subprocess.DEVNULL, start_new_session=True, cwd="/", env={**os.environ, **(environment or {})})
        self.processes.append(process)
        return process

    def call(self, *command, user=None, check=True, timeout=120):
        switch = ["runuser", "-u", user, "--"] if user else []
        return subprocess.run([*self.enter, *switch, *map(str, command)], check=check, capture_output=True, text=True,
                              timeout=timeout, cwd="/")

    def cut(self, other):
        """Nothing reaches the other machine any more, nor comes from it."""
        run("ip", "-n", self.space, "route", "add", "blackhole", f"{other.address}/32")

    def heal(self, other):
        run("ip", "-n", self.space, "route", "delete", "blackhole", f"{other.address}/32", check=False)

    def stop(self):
        for process in self.processes:
            kill(process)
        self.processes = []
        run("ip", "netns", "delete", self.space, check=False)


def send(process, number):
    """A signal for the process and what it started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def kill(process):
    """SIGKILL; returns when it is gone."""
    send(process, signal.SIGKILL)
    process.wait()


def run(*command, check=True):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr}")
    return done


def wait_until(what, seconds, words):
    """Returns after how long it was so."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if what():
            return time.monotonic() - began
        time.sleep(0.2)
    raise AssertionError(f"{words}: not within {seconds} s")


def folder(path):
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    return path
