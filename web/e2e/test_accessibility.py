"""The demo page to axe's rules, by keyboard, and as a screen reader is told it."""
import pathlib

import axe_playwright_python

from chromium import ChromiumTest
from support import until

AXE = next(pathlib.Path(axe_playwright_python.__file__).parent.rglob("axe.min.js")).read_text()


class AccessibilityTest(ChromiumTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.database.sql("""
            INSERT INTO tasks (title, context, user_id, status, progress) VALUES
                ('Import customers', 'billing', 'user-1', 'running', 35),
                ('Render report', 'media', 'user-2', 'running', 80),
                ('Resize images', 'media', 'user-3', 'pending', 0),
                ('Rebuild index', 'search', 'user-1', 'succeeded', 100),
                ('Back up volumes', 'search', 'user-2', 'failed', 60),
                ('Send newsletter', 'billing', 'user-2', 'cancelled', 10)""")

    def expect_accessible(self, page, where):
        # As the browser's own tool, not as the page: its policy lets no other script in.
        session = page.context.new_cdp_session(page)
        found = session.send("Runtime.evaluate", {"expression": AXE + """;
            axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations.map(
                ({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((node) => node.html).slice(0, 3).join(' | ')}`))""",
            "awaitPromise": True, "returnByValue": True})
        self.assertEqual(found["result"].get("value"), [], where)

    def fail_one(self, page):
        task = self.sql("INSERT INTO tasks (title, context, status) VALUES ('Transcode video', 'media', 'running') RETURNING id")
        page.locator(".card", has_text=f"#{task}").wait_for()
        self.sql(f"UPDATE tasks SET status = 'failed' WHERE id = {task}")
        page.locator(".es-toast").wait_for()

    def test_axe_finds_what_is_wrong(self):
        page = self.open_demo()
        page.evaluate("document.body.append(document.createElement('button'))")
        with self.assertRaisesRegex(AssertionError, "button-name"):
            self.expect_accessible(page, "an empty button")

    def test_axe_finds_nothing_in_light_dark_and_narrow(self):
        looks = {
            "light": {},
            "dark": {"color_scheme": "dark"},
            "narrow": {"viewport": {"width": 360, "height": 740}},
            "narrow-dark": {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"},
        }
        for name, look in looks.items():
            with self.subTest(name):
                page = self.open_demo(self.new_context(reduced_motion="reduce", **look))
                page.locator(".card", has_text="Back up volumes").first.wait_for()
                self.fail_one(page)
                self.expect_accessible(page, name)
                self.picture(page, name, full=name.startswith("narrow"))
                width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                self.assertLessEqual(width, 0, "nothing makes the page wider than the window")
                page.close()

    def test_axe_finds_nothing_while_waiting_and_after_a_refusal(self):
        for scheme in ("light", "dark"):
            page = self.open_demo(self.new_context(color_scheme=scheme, reduced_motion="reduce"))
            with self.away():
                page.locator(".es-hint").wait_for()
                self.expect_accessible(page, f"waiting, {scheme}")
                self.picture(page, f"waiting-{scheme}")
            page.close()
            page = self.new_context(color_scheme=scheme, reduced_motion="reduce").new_page()
            page.route("**/events/stream*", lambda route: route.fulfill(status=403, body="{}"))
            page.goto(self.service.origin)
            page.locator(".es-error").wait_for()
            self.expect_accessible(page, f"refused, {scheme}")
            page.close()

    def test_the_tree_names_what_there_is(self):
        page = self.open_demo()
        page.locator(".card", has_text="Import customers").first.wait_for()
        bar = page.get_by_role("progressbar", name="Progress of Import customers, task 1")
        self.assertEqual(bar.get_attribute("value"), "35")
        for role, name in [("heading", "Live tasks"), ("region", "Tasks"), ("region", "Running"), ("radio", "billing"),
                           ("combobox", "Events"), ("textbox", "Note"), ("button", "Publish"),
                           ("region", "Notifications"), ("list", "Newest events")]:
            self.assertEqual(page.get_by_role(role, name=name, exact=True).count(), 1, name)
        self.assertEqual(page.locator(".es-connection").get_by_role("status").inner_text(), "Live updates are on.")

    def test_all_can_be_reached_and_used_by_keyboard(self):
        page = self.open_demo()
        page.get_by_text("media", exact=True).first.wait_for()
        reached = []
        for _ in range(30):
            page.keyboard.press("Tab")
            now = page.evaluate("""(() => {
                const element = document.activeElement;
                const style = getComputedStyle(element.matches('.chip input') ? element.nextSibling : element);
                return [element.tagName, element.getAttribute('aria-label') ?? element.id ?? '', style.outlineStyle];
            })()""")
            reached.append(now)
            if now[0] == "BUTTON":
                break
        self.assertTrue(all(outline != "none" for _, _, outline in reached), reached)
        tags = [tag for tag, _, _ in reached]
        for tag in ("A", "INPUT", "SELECT", "OL", "BUTTON"):
            self.assertIn(tag, tags)
        page.locator("input[type=radio]").first.focus()
        page.keyboard.press("ArrowRight")
        self.assertEqual(page.evaluate("document.activeElement.nextSibling.textContent"), "billing")
        until("the board is narrowed", lambda: page.locator(".card", has_text="Resize images").count() == 0)

    def test_screen_readers_are_told_only_when_the_health_changes(self):
        page = self.open_demo()
        page.evaluate("""() => {
            window.told = [];
            const region = document.querySelector('.es-connection [role=status]');
            new MutationObserver(() => told.push(region.textContent)).observe(region,
                { childList: true, characterData: true, subtree: true });
        }""")
        with self.away():
            page.locator(".es-hint").wait_for()
        self.retry_now(page)
        self.expect_phase(page, "open")
        until("told", lambda: len(page.evaluate("told")) >= 3)
        self.assertEqual(page.evaluate("told"), ["Live updates are delayed.", "Live updates are off.", "Live updates are on."])

    def test_toasts_are_few_grouped_held_and_dismissed_by_escape(self):
        page = self.open_demo()
        self.sql("INSERT INTO tasks (title, status) SELECT t, 'running' FROM unnest('{A,A,B,C,D,E}'::text[]) t")
        self.sql("UPDATE tasks SET status = 'failed' WHERE title IN ('A', 'B', 'C', 'D', 'E')")
        toasts = page.locator("[aria-label=Notifications] .es-toast")
        until("four at the most", lambda: toasts.count() == 4)
        toasts.last.get_by_role("button").focus()
        page.keyboard.press("Escape")
        until("one less", lambda: toasts.count() == 3)

    def test_without_motion_nothing_moves(self):
        page = self.open_demo(self.new_context(reduced_motion="reduce"))
        self.fail_one(page)
        self.assertEqual(page.evaluate("document.getAnimations().length"), 0)
