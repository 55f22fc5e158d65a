"""The chaos run: real processes, planned faults, and a checker that knows every committed event.

  CHAOS_SECONDS   how long faults are played; 75 or less is the short form, each kind once (600)
  CHAOS_SEED      decides the order of the faults and what the writers do (the time)
  CHAOS_EVENTS    how many events there must be at least (1,000,000; 100,000 in the short form)
  CHAOS_NODES     how many nodes there are (3)
  CHAOS_OUTPUT    where the report and the nodes' logs go (.build/chaos)

Exit status 0 if every planned fault was injected and no promise was broken.
"""

import os
import pathlib
import shutil
import signal
import sys
import time
import unittest

import plan
import report
from servers import EXECUTABLE, ROOT
from stage import Stage


def free_bytes(folder):
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


class Settings:
    """The sizes of a run."""

    def __init__(self, environment):
        self.here = pathlib.Path(__file__).resolve().parent
        self.seconds = int(environment.get("CHAOS_SECONDS", "600"))
        self.is_short = self.seconds <= 75
        self.seed = int(environment.get("CHAOS_SEED", str(time.time_ns() % 1_000_000)))
        least = 100_000 if self.is_short else 1_000_000
        self.least_events = int(environment.get("CHAOS_EVENTS", str(least)))
        self.output = pathlib.Path(environment.get("CHAOS_OUTPUT", ROOT / ".build/chaos"))
        self.partition_size = 10_000 if self.is_short else 100_000
        self.log_mebibytes = 384 if self.is_short else 4096
        self.transactions_per_second = 150 if self.is_short else 300
        self.stream_lifetime = "20s" if self.is_short else "60s"
        self.slow_rate = 40_000 if self.is_short else 200_000
        self.backlog_rows = 20_000 if self.is_short else 300_000
        self.batch_rows = 20_000 if self.is_short else 50_000
        self.statement_rows = 30_000 if self.is_short else 100_000
        self.changed_rows = 5_000 if self.is_short else 100_000
        self.replay_rows = 20_000 if self.is_short else 200_000
        self.copy_rows = 5_000 if self.is_short else 50_000
        self.open_seconds = 8 if self.is_short else 120
        self.away_seconds = 1 if self.is_short else 8
        self.one_way_seconds = 1 if self.is_short else 6
        self.delay_seconds = 1 if self.is_short else 10
        self.disk_seconds = 1 if self.is_short else 20
        self.throttle_rate = 20_000
        # The short form starts PostgreSQL several times in a minute: in memory, if there is room.
        self.data_below = "/dev/shm" if self.is_short and free_bytes("/dev/shm") > 4 << 30 else None
        # After how many seconds what has not come is taken for stuck. The checker reads as much as
        # all clients together, on the same processors.
        self.patience = 120.0 if self.is_short else 300.0


def main():
    settings = Settings(os.environ)
    if not EXECUTABLE.exists():
        print(f"{EXECUTABLE} is not there: make build", file=sys.stderr)
        return 2
    # A checker that is not sound proves nothing.
    tests = unittest.TextTestRunner(verbosity=0).run(
        unittest.TestLoader().loadTestsFromName("test_chaos"))
    if not tests.wasSuccessful():
        return 1
    # Whoever ends the run early shall find nothing left of it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    settings.output.mkdir(parents=True, exist_ok=True)
    stage = Stage(settings, plan.fault_names(settings))
    try:
        stage.log(f"seed {settings.seed}")
        plan.play(stage)
        final = plan.finish(stage)
        result = report.assemble(stage, final)
    finally:
        stage.close()
    report.write(result, settings.output)
    print("\n".join(report.lines(result)))
    passed, failed = report.tally(result)
    passed += tests.testsRun
    print(f"chaos: {passed} passed, {failed} failed")
    if len(sys.argv) > 1:
        pathlib.Path(sys.argv[1]).write_text(f"{passed} {failed}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
