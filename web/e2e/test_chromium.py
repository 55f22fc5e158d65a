"""The demo page and the client in Chromium, against the real service and PostgreSQL."""
import json
import re
import time

from chromium import ChromiumTest
from support import until

TASK = "INSERT INTO tasks (title, context, status, progress) VALUES ('{}', '{}', '{}', {}) RETURNING id"


class DemoPageTest(ChromiumTest):
    def add_task(self, title, context="demo", status="running", progress=0):
        return self.sql(TASK.format(title, context, status, progress))

    def test_changes_are_shown_as_they_commit(self):
        page = self.open_demo()
        task = self.add_task("Import customers")
        card = page.locator(".card", has_text="Import customers")
        card.wait_for()
        self.assertEqual(card.locator(".es-badge").inner_text(), "running")
        self.sql(f"UPDATE tasks SET progress = 40 WHERE id = {task}")
        until("the bar", lambda: card.locator("progress").evaluate("(bar) => bar.value") == 40)
        self.sql(f"UPDATE tasks SET status = 'succeeded', progress = 100 WHERE id = {task}")
        page.locator("section[aria-label=Done] .card", has_text="Import customers").wait_for()
        self.sql(f"DELETE FROM tasks WHERE id = {task}")
        card.wait_for(state="detached")
        feed = page.locator(".feed li")
        self.assertIn("deleted", feed.first.inner_text())
        self.assertRegex(feed.first.inner_text(), r"\d+-\d+")
        self.assertRegex(feed.first.inner_text(), r"\d+ ms")
        self.assertEqual(self.errors, [])

    def test_a_page_opened_later_shows_what_the_log_says(self):
        titles = [f"Old task {number}" for number in range(5)]
        for title in titles:
            self.add_task(title)
        page = self.open_demo()
        for title in titles:
            page.locator(".card", has_text=title).wait_for()

    def test_strict_mode_opens_one_stream(self):
        before = self.service.opened()
        page = self.open_demo()
        time.sleep(0.5)
        self.assertEqual(self.service.opened() - before, 1)
        page.close()

    def test_filters_narrow_board_and_feed(self):
        page = self.open_demo()
        for context in ("red", "blue"):
            self.add_task(f"Task of {context}", context)
        page.get_by_text("red", exact=True).first.wait_for()
        page.locator(".chip", has_text="red").click()
        page.locator(".card", has_text="Task of red").wait_for()
        page.locator(".card", has_text="Task of blue").wait_for(state="detached")
        page.get_by_label("Events", exact=True).select_option("task.deleted")
        self.assertEqual(page.locator(".feed li", has_text="created").count(), 0)

    def test_a_failure_is_a_toast_that_can_be_dismissed(self):
        page = self.open_demo()
        for _ in range(3):
            task = self.add_task("Transcode video")
            self.sql(f"UPDATE tasks SET status = 'failed' WHERE id = {task}")
        toast = page.locator(".es-toast")
        until("three in one", lambda: toast.count() == 1 and "(3 times)" in toast.inner_text())
        page.get_by_role("button", name="Dismiss: Transcode video has failed").click()
        toast.wait_for(state="detached")

    def test_a_note_reaches_every_tab(self):
        pages = [self.open_demo(), self.open_demo()]
        pages[0].get_by_label("Note", exact=True).fill("Hello there")
        pages[0].get_by_role("button", name="Publish").click()
        for page in pages:
            page.locator(".es-toast", has_text="Hello there").wait_for()

    def test_the_service_is_killed_and_what_was_missed_comes_once(self):
        page = self.open_demo()
        task = self.add_task("Reconcile payments")
        page.locator(".card", has_text="Reconcile payments").wait_for()
        with self.away():
            self.expect_phase(page, "waiting")
            self.sql("".join(f"UPDATE tasks SET progress = {step} WHERE id = {task};" for step in range(1, 58)))
            # The page judges what stood in the log when it was live again.
            self.sql("SELECT count(*) FROM event_service.attach(); SELECT count(*) FROM event_service.advance()")
            hint = page.locator(".es-hint")
            hint.wait_for()
            shown = set()
            end = time.monotonic() + 20
            while len(shown) < 3 and time.monotonic() < end:
                found = re.search(r"again in (\d+) s", hint.inner_text())
                if found:
                    shown.add(int(found[1]))
                time.sleep(0.1)
            self.assertGreaterEqual(len(shown), 3, "the countdown runs")
            self.assertEqual(page.locator(".es-connection [role=status]").inner_text(), "Live updates are off.")
            page.locator(".pill", has_text="no answer").wait_for()
            page.get_by_role("button", name="Retry now").click()
            self.expect_phase(page, "waiting")
            hint.wait_for()
            self.picture(page, "waiting")
        self.retry_now(page)
        self.expect_phase(page, "open")
        hint.wait_for(state="detached")
        verdict = page.locator(".verdicts li").first
        verdict.wait_for()
        self.assertIn("57 events happened meanwhile: all are here, each once.", verdict.inner_text())
        page.locator(".pill", has_text="ready").wait_for()
        self.picture(page, "recovered")

    def test_a_refusal_is_explained_and_can_be_tried_again(self):
        page = self.context.new_page()
        problem = json.dumps({"detail": "The token does not grant the context \"billing\"."})
        page.route("**/events/stream*", lambda route: route.fulfill(
            status=403, content_type="application/problem+json", body=problem))
        page.goto(self.service.origin)
        panel = page.locator(".es-error")
        panel.wait_for()
        self.assertEqual(panel.get_attribute("role"), "alert")
        self.assertIn("does not grant the context", panel.inner_text())
        self.picture(page, "error")
        page.unroute("**/events/stream*")
        page.get_by_role("button", name="Connect again").click()
        self.expect_phase(page, "open")
        panel.wait_for(state="detached")

    def burst(self):
        """The longest task of a page to which 20,000 events come at once, in milliseconds."""
        page = self.open_demo()
        page.evaluate("""async () => {
            const { createStream } = await import('/client/index.js');
            window.ids = new Set(); window.calls = 0; window.longest = 0;
            window.stream = createStream({ url: 'api/v1/events/stream', filters: { type: 'burst.*' }, tabs: 'each' });
            stream.on('*', ({ id }) => { ids.add(id); calls++; });
            stream.open();
            new PerformanceObserver((list) => {
                for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
            }).observe({ entryTypes: ['longtask'] });
        }""")
        until("connected", lambda: page.evaluate("stream.getStatus().phase") == "open")
        self.sql("""INSERT INTO tasks (title, context, status, progress)
                    SELECT 'Burst ' || n, 'burst', 'running', n % 100 FROM generate_series(1, 10000) n;
                    SELECT count(event_service.publish('burst.tick', to_jsonb(n), '{*}')) FROM generate_series(1, 10000) n""")
        until("all calls", lambda: page.evaluate("calls") >= 10_000, 60)
        until("the board", lambda: page.locator("section[aria-label=Running] .more").count(), 60)
        time.sleep(1)
        longest = page.evaluate("longest")
        print(f"burst of 20,000 events: longest task {longest:.0f} ms")
        self.assertEqual((page.evaluate("ids.size"), page.evaluate("calls")), (10_000, 10_000))
        page.close()
        self.sql("DELETE FROM tasks WHERE context = 'burst'")
        return longest

    def test_ten_thousand_events_in_a_burst_leave_the_page_responsive(self):
        # Whatever else the machine does makes a task longer, never shorter.
        self.assertTrue(any(self.burst() < 200 for _ in range(10)))
