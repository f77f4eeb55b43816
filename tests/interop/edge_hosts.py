"""Hosts of WASI HTTP components, each with an engine of its own, and the door between them and the core."""

import os
import pathlib
import selectors
import shutil
import signal
import socket
import subprocess
import threading

from relay import free_port, wait_for_port


def built(binary):
    """The target directory of the relay's build."""
    return pathlib.Path(binary).resolve().parent.parent


class Host:
    """A process with a port. `command` says how it serves a component."""

    program = ""
    # The checks that are made with it; none: all.
    checks = ()
    # Serves other requests while one waits.
    is_concurrent = True
    # The status with which the host itself refuses header fields that are not UTF-8; none: it does not.
    not_utf8 = None
    # The status, without a body, when it has no room for another instance; none: it waits or says 503.
    no_room = None

    def __init__(self, component, variables, folder, calls="*"):
        # The port of loopback that the component may call, where the host is told.
        self.calls = calls
        self.port = free_port()
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = open(self.folder / f"{component.stem}-host.log", "ab")
        # Nothing of ours but what it needs.
        surroundings = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        command, more = self.command(component, variables)
        self.process = subprocess.Popen(command, env={**surroundings, **more}, cwd=self.folder, stdout=self.log, stderr=self.log,
                                        start_new_session=True)
        wait_for_port(self.port, self.process)

    @classmethod
    def missing(cls):
        """Why it cannot run here."""
        return None if shutil.which(cls.program) else f"`{cls.program}` is not on the PATH"

    def memory(self):
        """Resident octets of the process and its children, and the most there were of the process itself."""
        total = peak = 0
        for process in descendants(self.process.pid):
            try:
                status = pathlib.Path(f"/proc/{process}/status").read_text()
            except OSError:
                continue
            figures = dict(line.split(":", 1) for line in status.splitlines())
            total += int(figures.get("VmRSS", "0 kB").split()[0]) * 1024
            peak += int(figures.get("VmHWM", "0 kB").split()[0]) * 1024
        return total, peak

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        finally:
            self.log.close()


def descendants(pid):
    found = [pid]
    for process in found:
        for task in pathlib.Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


class Jco(Host):
    """Node's V8. One instance serves one request after the other: a slow caller holds up all others."""

    program = "node"
    is_concurrent = False
    options = ()

    def command(self, component, variables):
        jco = built(os.environ["RELEVO"]) / "plugin-tools" / "javascript" / "node_modules" / ".bin" / "jco"
        return [str(jco), "serve", "--host", "127.0.0.1", "--port", str(self.port), *self.options, str(component)], variables


class JcoWorkers(Jco):
    """A worker for each request, made before it comes, and as many requests at once."""

    checks = ("sends, personalised and with an attachment", "core away: 503, then sent once", "slow bodies")
    is_concurrent = True
    options = ("--isolate-requests", "worker", "--isolate-worker-pool-size", "32")


class JcoInstances(Jco):
    """An instance for each request, as StarlingMonkey needs it. CPython has constant expressions that Node 20 takes when it is told."""

    options = ("--isolate-requests", "instance")

    def command(self, component, variables):
        preload = self.folder / "extended-const.cjs"
        preload.write_text("require('node:v8').setFlagsFromString('--experimental-wasm-extended-const');\n")
        old = subprocess.run(["node", "--v8-options"], capture_output=True, text=True, check=True).stdout
        more = {"NODE_OPTIONS": f"--require={preload}"} if "--experimental-wasm-extended-const" in old else {}
        command, variables = super().command(component, variables)
        return command, {**variables, **more}


class Wasmtime(Host):
    """A fresh instance for each request."""

    program = "wasmtime"
    # A composition is some core instances, and 1,000 of them are what wasmtime has room for unless it is told otherwise.
    room = tuple(f"-Opooling-total-{what}={number}" for what, number in (
        ("core-instances", 12_000), ("component-instances", 2_000), ("memories", 6_000), ("tables", 12_000), ("stacks", 2_000)))

    def command(self, component, variables):
        given = [f"--env={name}={value}" for name, value in variables.items()]
        return ["wasmtime", "serve", "-Scli", *self.room, f"--addr=127.0.0.1:{self.port}", *given, str(component)], {}


class Spin(Host):
    """The composed file as the only component of an application."""

    program = "spin"
    not_utf8 = 500
    # It counts memories and tables of core instances, of which a composition has several.
    no_room = 500

    def command(self, component, variables):
        manifest = self.folder / f"{component.stem}.toml"
        manifest.write_text(
            'spin_manifest_version = 2\n[application]\nname = "interop"\nversion = "0.1.0"\n'
            '[[trigger.http]]\nroute = "/..."\ncomponent = "served"\n'
            f'[component.served]\nsource = "{component}"\nallowed_outbound_hosts = ["http://127.0.0.1:{self.calls}"]\n'
        )
        given = [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]
        return ["spin", "up", "--from", str(manifest), "--listen", f"127.0.0.1:{self.port}", *given], {}


ALL = {"jco serve": Jco, "jco serve, workers": JcoWorkers, "wasmtime serve": Wasmtime, "spin up": Spin}


class Door:
    """Passes connections to a port, or loses what comes back."""

    def __init__(self, port):
        self.behind, self.swallow_answers = port, False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                outer = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.carry, args=(outer,), daemon=True).start()

    def carry(self, outer):
        with outer:
            try:
                inner = socket.create_connection(("127.0.0.1", self.behind), timeout=120)
            except OSError:
                return
            with inner:
                try:
                    self.pump(outer, inner)
                except OSError:
                    return

    def pump(self, outer, inner):
        # Not `select`, which takes no descriptor above 1,023.
        with selectors.DefaultSelector() as either:
            either.register(outer, selectors.EVENT_READ)
            either.register(inner, selectors.EVENT_READ)
            while True:
                for key, _ in either.select(300):
                    data = key.fileobj.recv(1 << 16)
                    if not data or (key.fileobj is inner and self.swallow_answers):
                        return
                    (inner if key.fileobj is outer else outer).sendall(data)

    def stop(self):
        self.listener.close()
