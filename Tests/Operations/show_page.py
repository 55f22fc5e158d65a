"""Opens a page in Chromium and prints its text on one line whenever that changes, until it is ended.

Runs with the Python of .local/python, which has Playwright: show_page.py URL
"""
import signal
import sys

from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    # A signal ends the browser too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    page = browser.new_page()
    page.on("console", lambda message: print(f"console: {message.text}", file=sys.stderr, flush=True))
    page.on("pageerror", lambda error: print(f"error: {error}", file=sys.stderr, flush=True))
    page.goto(sys.argv[1])
    shown = None
    while True:
        text = " ".join(page.inner_text("body").split())
        if text != shown:
            print(text, flush=True)
            shown = text
        page.wait_for_timeout(50)
