"""The pages of docs/browser-client.md, as they are written there."""
import re
import subprocess

from chromium import ChromiumTest
from support import ROOT, until

PAGES = re.findall(r"```html\n(.*?)```", (ROOT / "docs/browser-client.md").read_text(), re.S)
#: React as one module, as whoever has no bundler gets it somewhere.
REACT = """
import React from 'react';
export { createRoot } from 'react-dom/client';
export const { createContext, createElement, useContext, useEffect, useId, useLayoutEffect, useMemo, useRef,
    useState, useSyncExternalStore } = React;
"""


class HowToTest(ChromiumTest):
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

    def test_a_plain_page(self):
        page = self.open_page(PAGES[0].replace("https://events.example.com", self.service.origin))
        until("a stream", lambda: self.service.opened() == 1)
        self.sql("INSERT INTO tasks (title, status) VALUES ('Try it', 'pending')")
        self.sql("UPDATE tasks SET status = 'running'")
        until("the row", lambda: page.evaluate("shown.map(({ status }) => status)") == ["running"])

    def test_react_without_a_bundler(self):
        react = subprocess.run(
            ["esbuild", "--bundle", "--format=esm", "--define:process.env.NODE_ENV=\"production\""],
            input=REACT, capture_output=True, text=True, check=True, cwd=ROOT / "web").stdout
        html = PAGES[1].replace("/your/react-dom-client.js", "/your/react.js")
        page = self.open_page(html, react=react)
        self.expect_phase(page, "open")
        self.assertIn("Live", page.locator("#root").inner_text())
