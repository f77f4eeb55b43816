"""Mistakes that are made on purpose: for each, what shows it, and the objection that must come. A check that cannot fail
proves nothing."""

import faults
import faults_engine

# The name of a mistake; the faults that show it; the kinds of objections of which one must come; whether it is a change of
# the relay, which `relevo` with the feature `seeded-bugs` has, or one of the configuration.
SEEDED = {
    "no_sync": ([faults.power_and_disks_lost], ("lost",), False),
    "own_cap": ([], ("cap",), False),
    "no_fence": ([faults.stopped_and_lost], ("lost",), True),
    "early_answer": ([faults_engine.engine_away, faults.disk_lost], ("lost", "fault"), True),
    "repeated_attempt": ([], ("repeated",), True),
    "event_twice": ([], ("events",), True),
}
