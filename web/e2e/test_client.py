"""The client alone in Chromium: tabs, network, sleep, history, against the real service."""
import contextlib
import time

from playwright.sync_api import Error

from chromium import BACK_FORWARD_CACHE, ChromiumTest
from support import until


class ClientTest(ChromiumTest):
    def publish(self, count=1, kind="test.tick"):
        return self.sql(f"SELECT count(event_service.publish('{kind}', to_jsonb(n), '{{*}}'))"
                        f" FROM generate_series(1, {count}) n")

    def expect_seen(self, page, ids):
        until("all events", lambda: page.evaluate("seen.length") >= len(ids))
        self.assertEqual(page.evaluate("seen"), ids)

    def new_ids(self, before):
        """The ids that came to the log since then, once they are there."""
        return until("positions", lambda: self.database.ids()[len(before):])

    def test_six_tabs_have_one_stream_and_another_leads_when_the_leader_closes(self):
        before, opened = self.database.ids(), self.service.opened()
        pages = [self.open_blank() for _ in range(6)]
        for page in pages:
            self.client(page)
        for page in pages:
            self.expect_status(page, "phase", "open")
        self.publish(20)
        until("20 events", lambda: len(self.database.ids()) == len(before) + 20)
        for page in pages:
            self.expect_seen(page, self.new_ids(before))
        self.assertEqual(self.service.opened() - opened, 1)
        # A seventh page of the origin loads, which six streams would not let it.
        self.open_blank()
        leader = next(page for page in pages if self.status(page)["role"] == "leader")
        others = [page for page in pages if page is not leader]
        began = time.monotonic()
        leader.close()
        until("another leader", lambda: any(self.status(page)["role"] == "leader" for page in others), pause=0.005)
        print(f"fail-over to another tab: {(time.monotonic() - began) * 1000:.0f} ms")
        self.publish(20)
        until("40 events", lambda: len(self.database.ids()) == len(before) + 40)
        for page in others:
            self.expect_seen(page, self.new_ids(before))
        self.assertEqual(self.service.opened() - opened, 2)

    def test_other_filters_do_not_share(self):
        opened = self.service.opened()
        pages = [self.open_blank(), self.open_blank()]
        self.client(pages[0], "filters: { type: 'test.*' }")
        self.client(pages[1], "filters: { type: 'other.*' }")
        for page in pages:
            self.expect_status(page, "phase", "open")
        self.publish(1)
        until("the event", lambda: pages[0].evaluate("seen.length") == 1)
        self.assertEqual(pages[1].evaluate("seen"), [])
        self.assertEqual(self.service.opened() - opened, 2)

    def test_a_tab_that_comes_later_reads_the_past_from_history(self):
        before = self.database.ids()
        first = self.open_blank()
        self.client(first, "since: 'earliest'")
        self.publish(2500)
        until("2500 events", lambda: len(self.database.ids()) == len(before) + 2500)
        ids = self.database.ids()
        self.expect_seen(first, ids)
        late = self.open_blank()
        self.client(late, "since: 'earliest'")
        self.expect_seen(late, ids)
        self.assertEqual(self.status(late)["role"], "follower")

    def test_offline_makes_no_attempts_and_online_misses_nothing(self):
        before = self.database.ids()
        page = self.open_blank()
        self.client(page)
        self.expect_status(page, "phase", "open")
        self.context.set_offline(True)
        self.expect_status(page, "phase", "offline")
        self.publish(5)
        time.sleep(1)
        self.assertEqual(self.status(page)["phase"], "offline")
        opened = self.service.opened()
        self.context.set_offline(False)
        self.expect_status(page, "phase", "open")
        self.expect_seen(page, self.new_ids(before))
        self.assertEqual(self.service.opened() - opened, 1)

    def test_polling_takes_over_from_a_stream_that_cannot_be_had_and_gives_back(self):
        before = self.database.ids()
        page = self.open_blank()
        page.route("**/events/stream*", lambda route: route.abort())
        self.client(page, "backoff: { min: 50 }, fallback: { everyMs: 200, afterFailures: 2, retryStreamMs: 1000 }")
        self.expect_status(page, "phase", "polling")
        self.publish(3)
        until("3 events", lambda: len(self.database.ids()) == len(before) + 3)
        self.expect_seen(page, self.new_ids(before))
        page.unroute("**/events/stream*")
        self.expect_status(page, "phase", "open")
        self.publish(3)
        until("6 events", lambda: len(self.database.ids()) == len(before) + 6)
        self.expect_seen(page, self.new_ids(before))
        self.assertEqual(page.evaluate("phases.filter((phase) => phase === 'polling').length"), 1)

    def test_a_position_that_cannot_be_served_is_a_gap_and_loads_anew(self):
        page = self.open_blank()
        self.publish(2)
        page.evaluate("window.saved = []")
        self.client(page, "cursor: { load: () => '1000-1', save: (id) => saved.push(id) }")
        until("the gap", lambda: page.evaluate("gaps.length") == 1)
        self.assertEqual(page.evaluate("gaps"), ["unknown-epoch"])
        self.expect_status(page, "resumed", "gap")
        before = self.database.ids()
        self.publish(1)
        self.expect_seen(page, self.new_ids(before))
        self.assertEqual(page.evaluate("saved.at(-1)"), self.database.ids()[-1])

    def test_a_history_that_forks_is_a_gap_in_mid_stream(self):
        page = self.open_blank()
        self.client(page)
        self.expect_status(page, "phase", "open")
        self.publish(3)
        until("three events", lambda: page.evaluate("seen.length") == 3)
        # What a restore does: the same positions will be given to other events.
        self.sql("UPDATE event_service.epoch SET identity[2] = '00000000'")
        self.service.kill()
        self.service.start()
        self.expect_status(page, "phase", "open")
        self.publish(1)
        until("the next event", lambda: page.evaluate("seen.length") >= 4)
        self.assertEqual(page.evaluate("seen.at(-1)"), self.database.ids()[-1])

    def test_the_native_event_source_is_a_transport(self):
        before = self.database.ids()
        page = self.open_blank()
        page.evaluate("async () => { window.native = await import('/client/eventsource.js') }")
        self.client(page, "transport: native.eventSourceTransport({ types: ['test.tick'] }), backoff: { min: 50 }")
        self.expect_status(page, "phase", "open")
        self.publish(3)
        until("3 events", lambda: page.evaluate("seen.length") == 3)
        with self.away():
            self.expect_status(page, "phase", "waiting")
            self.publish(3)
        self.expect_status(page, "phase", "open")
        until("6 events", lambda: len(self.database.ids()) == len(before) + 6)
        self.expect_seen(page, self.new_ids(before))

    def test_a_service_that_stops_as_planned_is_left_without_an_error(self):
        page = self.open_blank()
        self.client(page)
        self.expect_status(page, "phase", "open")
        self.service.stop()
        self.expect_status(page, "phase", "waiting")
        self.service.start()
        self.expect_status(page, "phase", "open")
        self.assertNotIn("closed", page.evaluate("phases"))

    def test_a_stalled_connection_is_noticed(self):
        page = self.open_blank()
        self.client(page, "silenceMs: 1000, backoff: { min: 50 }")
        self.expect_status(page, "phase", "open")
        self.service.process.send_signal(19)
        try:
            until("silence", lambda: (self.status(page)["error"] or {}).get("code") == "silence")
        finally:
            self.service.process.send_signal(18)
        self.client(page, "silenceMs: 60000")
        self.expect_status(page, "phase", "open")

    def test_modules_source_maps_and_declarations_are_served(self):
        for path in ("index", "page", "polling", "iterate", "react", "eventsource"):
            self.assertIn("//# sourceMappingURL=", self.service.get(f"/client/{path}.js"))
            self.assertIn("sourcesContent", self.service.get(f"/client/{path}.js.map"))
        self.assertIn("createStream", self.service.get("/client/client.d.ts"))
        self.assertIn("useLiveQuery", self.service.get("/react/index.d.ts"))
        self.assertIn("../react/index.js", self.service.get("/client/react.d.ts"))

    def test_the_page_may_run_nothing_but_its_own_modules(self):
        page = self.open_demo()
        page.evaluate("""() => {
            window.violations = [];
            document.addEventListener('securitypolicyviolation', ({ violatedDirective }) => violations.push(violatedDirective));
            for (const [name, text] of [['script', 'window.ran = true'], ['style', 'body { color: red }']]) {
                document.head.append(Object.assign(document.createElement(name), { textContent: text }));
            }
        }""")
        until("both are refused", lambda: len(page.evaluate("violations")) >= 2)
        self.assertIsNone(page.evaluate("window.ran ?? null"))


class BackForwardCacheTest(ChromiumTest):
    ignored = BACK_FORWARD_CACHE
    # What is no stream is closed soon, so that connections can be counted.
    settings = ("--idle-timeout", "1s")

    def test_a_page_in_the_back_forward_cache_has_no_stream_and_comes_back_with_its_cursor(self):
        page = self.open_blank()
        self.client(page)
        self.expect_status(page, "phase", "open")
        self.sql("SELECT event_service.publish('test.tick', '1', '{*}')")
        until("an event", lambda: page.evaluate("seen.length") == 1)
        page.evaluate("""window.shows = [];
            addEventListener('pageshow', ({ persisted }) => shows.push(persisted))""")
        page.goto(f"{self.service.origin}/client/page.d.ts")
        until("the stream has ended", lambda: self.service.connections() == 0)
        self.sql("SELECT event_service.publish('test.tick', '2', '{*}')")
        page.evaluate("setTimeout(() => history.back())")

        def is_back():
            with contextlib.suppress(Error):
                return page.evaluate("window.shows ? shows.length : 0")

        until("the page is back", is_back)
        self.assertEqual(page.evaluate("shows"), [True], "the page was kept")
        until("what was missed", lambda: page.evaluate("seen.length") == 2)
        self.assertEqual(page.evaluate("seen"), self.database.ids())
        self.expect_status(page, "phase", "open")
