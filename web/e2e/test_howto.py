"""The pages of docs/browser-client.md and docs/subscribing.md, as they are written there."""
import re
import subprocess

from chromium import ChromiumTest
from support import ROOT, until



def pages(name):
    return re.findall(r"```html\n(.*?)```", (ROOT / "docs" / name).read_text(), re.S)


PLAIN, REACT_BINDINGS = pages("browser-client.md")
NATIVE, CLIENT, REACT_STATE = pages("subscribing.md")
#: React as one module, as whoever has no bundler gets it somewhere.
REACT = """
import React from 'react';
export { createRoot } from 'react-dom/client';
export const { createContext, createElement, useContext, useEffect, useId, useLayoutEffect, useMemo, useRef,
    useState, useSyncExternalStore } = React;
"""


class HowToTest(ChromiumTest):
    def setUp(self):
        super().setUp()
        # What an earlier test left.
        self.sql("DELETE FROM tasks")
        self.opened = self.service.opened()

    def await_stream(self):
        until("a stream", lambda: self.service.opened() > self.opened)

    def open_page(self, html, **files):
        """A page of the service's origin with this text; other files beside it."""
        page = self.context.new_page()

        def give(path, text, kind):
            page.route(path, lambda route: route.fulfill(body=text, content_type=kind))

        give("**/howto.html", html, "text/html")
        for name, text in files.items():
            give(f"**/your/{name}.js", text, "text/javascript")
        page.add_init_script("window.shown = []; window.show = (row) => shown.push(row)")
        page.goto(f"{self.service.origin}/howto.html")
        return page

    def open_react_page(self, html):
        react = subprocess.run(
            ["esbuild", "--bundle", "--format=esm", "--define:process.env.NODE_ENV=\"production\""],
            input=REACT, capture_output=True, text=True, check=True, cwd=ROOT / "web").stdout
        return self.open_page(html.replace("/your/react-dom-client.js", "/your/react.js"), react=react)

    def test_a_plain_page(self):
        page = self.open_page(PLAIN.replace("https://events.example.com", self.service.origin))
        self.await_stream()
        self.sql("INSERT INTO tasks (title, status) VALUES ('Try it', 'pending')")
        self.sql("UPDATE tasks SET status = 'running'")
        until("the row", lambda: page.evaluate("shown.map(({ status }) => status)") == ["running"])

    def test_react_without_a_bundler(self):
        page = self.open_react_page(REACT_BINDINGS)
        self.expect_phase(page, "open")
        self.assertIn("Live", page.locator("#root").inner_text())

    def check_list(self, page, created, changed):
        """A page that lists what happens does so as it happens, and has what it missed."""
        def lines():
            return page.locator("li").all_inner_texts()

        self.await_stream()
        self.sql("INSERT INTO tasks (title, status) VALUES ('Try it', 'pending')")
        until("the row", lambda: lines() == created)
        with self.away():
            self.sql("UPDATE tasks SET status = 'running'")
        until("the change that was missed", lambda: lines() == changed)

    def test_the_native_eventsource(self):
        created = ["task.created Try it"]
        self.check_list(self.open_page(NATIVE), created, [*created, "task.status-changed Try it"])

    def test_the_client(self):
        self.sql("ALTER TABLE tasks ALTER id RESTART WITH 1000")
        created = ["task.created 1000"]
        self.check_list(self.open_page(CLIENT), created, [*created, "task.status-changed 1000"])

    def test_react_state(self):
        self.check_list(self.open_react_page(REACT_STATE), ["Try it: pending"], ["Try it: running"])
