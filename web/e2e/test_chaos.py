"""The service killed fifty times in two minutes, at random: what the page counts."""
import random
import subprocess
import time

from chromium import ChromiumTest
from support import until

KILLS, SECONDS, EVENTS_A_SECOND = 50, 120, 40


class ChaosTest(ChromiumTest):
    def test_no_event_is_lost_or_doubled_in_fifty_random_kills_over_two_minutes(self):
        seed = random.randrange(1 << 32)
        chance = random.Random(seed)
        print(f"seed {seed}")
        page = self.open_blank()
        page.evaluate("window.counts = new Map()")
        self.client(page, "backoff: { min: 100 }")
        page.evaluate("void stream.on('*', ({ id }) => counts.set(id, (counts.get(id) ?? 0) + 1))")
        self.expect_status(page, "phase", "open")
        # Single commits, one after the other, for as long as it takes.
        writer = subprocess.Popen(["psql", "-X", "-q", "-c", f"""
            DO $$ BEGIN
                FOR n IN 1..{SECONDS * EVENTS_A_SECOND} LOOP
                    PERFORM event_service.publish('chaos.tick', to_jsonb(n), '{{*}}');
                    COMMIT;
                    PERFORM pg_sleep({1 / EVENTS_A_SECOND});
                END LOOP;
            END $$""", self.database.url])
        self.addCleanup(lambda: writer.poll() is None and writer.kill())
        began = time.monotonic()
        moments = sorted(chance.uniform(0, SECONDS - 1) for _ in range(KILLS))
        for moment in moments:
            time.sleep(max(0, began + moment - time.monotonic()))
            self.service.kill()
            time.sleep(chance.uniform(0, 0.3))
            self.service.start(wait=False)
        took = time.monotonic() - began
        until("the writer is done", lambda: writer.poll() is not None, 120)
        until("the service is ready", self.service.is_ready)
        ids = until("all positions", lambda: (found := self.database.ids()) and len(found) >= SECONDS * EVENTS_A_SECOND and found)
        until("the last event", lambda: page.evaluate("(id) => counts.has(id)", ids[-1]), 60)
        counts = dict(page.evaluate("[...counts]"))
        lost = [id for id in ids if id not in counts]
        doubled = [id for id in ids if counts.get(id, 0) > 1]
        print(f"{KILLS} kills in {took:.0f} s, {len(ids)} events, {self.service.opened()} streams:"
              f" {len(lost)} lost, {len(doubled)} doubled")
        self.assertEqual((lost, doubled, len(counts)), ([], [], len(ids)))
