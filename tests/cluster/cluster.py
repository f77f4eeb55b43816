"""Three relays over a real engine lose nodes, disks, power and connections while mail is sent to them. See README.md."""

import argparse
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

import faults as f
import faults_engine as e
from check import Check
from nodes import Cluster
from reading import read_anywhere
from seeded import SEEDED

ROWS = {
    "nats": [f.contract, read_anywhere, f.rolling, f.killed, e.killed_with_leader, f.stopped, f.stopped_and_lost, f.cut_off, f.partitions, f.disk_lost,
             e.server_lost, e.engine_away, f.power_lost, f.power_and_disks_lost, f.relay_full, e.engine_full, f.relay_flipped, e.server_flipped,
             f.clocks, f.added],
    "postgres": [f.contract, read_anywhere, f.rolling, f.killed, e.killed_with_leader, f.stopped, f.stopped_and_lost, f.cut_off, f.partitions, f.disk_lost,
                 e.engine_away, f.power_lost, f.power_and_disks_lost, f.relay_full, e.engine_full, f.relay_flipped, f.clocks, f.added],
}
SHORT = {"nats": ["killed", "power_lost"], "postgres": ["stopped"]}
# Of each engine, the mistake that the short form makes.
SHORT_SEEDED = {"nats": "no_sync"}
# How long mail flows where nothing else happens.
NOTHING = 45


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--relevo", required=True)
    arguments.add_argument("--nats", required=True)
    arguments.add_argument("--engine", choices=[*ROWS], help="only this engine")
    arguments.add_argument("--fault", metavar="NAME", action="append", help="only these faults")
    arguments.add_argument("--short", action="store_true", help="the faults that matter most")
    arguments.add_argument("--seeded", nargs="?", const="all", choices=["all", *SEEDED], help="make mistakes on purpose: each must be found")
    arguments.add_argument("--keep", action="store_true", help="keep what the processes wrote")
    given = arguments.parse_args()
    given.old, given.seeded_bug, given.seeded = os.environ.get("RELEVO_OLD"), given.seeded, os.environ.get("RELEVO_SEEDED")
    # What is mounted is unmounted at the end, whoever asks for it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    failed = 0
    for kind, rows in ROWS.items():
        if given.engine not in (None, kind):
            continue
        if not given.seeded_bug:
            rows = [row for row in rows if (not given.short or row.__name__ in SHORT[kind]) and (not given.fault or row.__name__ in given.fault)]
            failed += engine(given, kind, rows) if rows else 0
        for name in seeds(given, kind):
            failed += seeded(given, kind, name)
    print(f"\ncluster: {failed} failed")
    return 1 if failed else 0


def seeds(given, kind):
    if given.short:
        return [SHORT_SEEDED[kind]] if kind in SHORT_SEEDED else []
    return [name for name in SEEDED if given.seeded_bug in ("all", name)]


def engine(given, kind, rows):
    """Runs faults one after the other; returns how many of them, and of the checks, failed."""
    with Run(given, kind) as run:
        for row in rows:
            began = time.monotonic()
            result = run.attempt(lambda: row(run.cluster))
            print(f"{kind}: {row.__name__}: {row.__doc__.strip()[:90]:92} {result}  {time.monotonic() - began:.0f} s", flush=True)
        check = Check(run.cluster)
        run.attempt(check.run)
        run.failed += len(check.objections)
        for line in [*check.figures, *(f"FAILED: {objection}" for objection in check.objections)]:
            print(f"{kind}: {line}", flush=True)
        print(f"{kind}: what was taken arrives once, within the caps: {'FAILED' if check.objections else 'ok'}", flush=True)
    return run.failed


def seeded(given, kind, name):
    """Makes a mistake, and returns 0 if the check objects to it."""
    rows, wanted, is_built_in = SEEDED[name]
    if is_built_in and not given.seeded:
        print(f"{kind}: seeded {name}: FAILED: RELEVO_SEEDED names no relay with the feature `seeded-bugs`", flush=True)
        return 1
    with Run(given, kind, name, given.seeded if is_built_in else None) as run:
        check = Check(run.cluster)
        for row in rows:
            result = run.attempt(lambda: row(run.cluster))
            if result != "ok":
                check.object("fault", f"{row.__name__}: {result}")
        if not rows:
            time.sleep(NOTHING)
        result = run.attempt(lambda: check.run(wanted))
        if result != "ok":
            check.object("fault", result)
        named = check.named(wanted)
        run.failed = 0 if named else 1
        print(f"{kind}: seeded {name}: " + (f"found: {named}" if named else f"FAILED: nobody objected ({check.objections}; {check.figures})"), flush=True)
    return run.failed


class Run:
    """A cluster that mail is sent to. What its processes wrote is kept if anything failed."""

    def __init__(self, given, kind, seed=None, program=None):
        self.given, self.failed = given, 0
        self.files = pathlib.Path(tempfile.mkdtemp(prefix=f"relevo-cluster-{kind}-"))
        self.cluster = Cluster(given, kind, self.files, seed, program)

    def __enter__(self):
        try:
            self.cluster.start()
            self.cluster.send()
            time.sleep(5)
        except BaseException:
            self.__exit__(RuntimeError)
            raise
        return self

    def __exit__(self, error, *_):
        self.cluster.stop()
        if error or self.failed or self.given.keep:
            print(f"what the processes wrote is in {self.files}", flush=True)
        else:
            shutil.rmtree(self.files, ignore_errors=True)

    def attempt(self, what):
        try:
            what()
            return "ok"
        except Exception as error:  # noqa: BLE001 a row reports whatever went wrong
            self.failed += 1
            return f"FAILED: {type(error).__name__}: {error}"


if __name__ == "__main__":
    raise SystemExit(main())
