"""Chromium, driven by Playwright."""
from playwright.sync_api import sync_playwright

from support import SCREENSHOTS, ServiceTest, until

#: Without this flag of Playwright's, Chromium keeps pages that are left.
BACK_FORWARD_CACHE = ["--disable-back-forward-cache"]


class ChromiumTest(ServiceTest):
    """A browser for each class, and a window with cookies and cache of its own for each test."""

    ignored = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        playwright = sync_playwright().start()
        cls.addClassCleanup(playwright.stop)
        cls.browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"],
            ignore_default_args=list(cls.ignored))
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        if not self.service.process or self.service.process.poll() is not None:
            self.service.start()
        self.errors = []
        self.context = self.new_context()

    def new_context(self, **options):
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(30_000)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.addCleanup(context.close)
        return context

    def open_demo(self, context=None):
        """The demo page, once it is live."""
        page = (context or self.context).new_page()
        page.goto(self.service.origin)
        self.expect_phase(page, "open")
        return page

    def open_blank(self, context=None):
        """A page of the service's origin with nothing on it: tests bring their own script."""
        page = (context or self.context).new_page()
        page.goto(f"{self.service.origin}/client/react.d.ts")
        return page

    def retry_now(self, page):
        """Presses the button, if the client has not tried by itself meanwhile."""
        page.evaluate("document.querySelector('.es-hint button')?.click()")

    def expect_phase(self, page, phase, seconds=60):
        page.wait_for_selector(f".es-connection[data-phase={phase}]", timeout=seconds * 1000)

    def client(self, page, options=""):
        """Starts a client in a page: its events, gaps and phases are kept in `window`."""
        page.evaluate("""async (options) => {
            const { createStream } = await import('/client/index.js');
            const more = new Function('return {' + options + '}')();
            window.seen = []; window.phases = []; window.gaps = [];
            window.stream = createStream({ url: '/api/v1/events/stream', ...more });
            stream.on('*', ({ id }) => seen.push(id));
            stream.onGap((gap) => gaps.push(gap.reason));
            stream.subscribe(() => {
                const { phase } = stream.getStatus();
                if (phases.at(-1) !== phase) phases.push(phase);
            });
            stream.open();
        }""", options)

    def status(self, page):
        return page.evaluate("stream.getStatus()")

    def expect_status(self, page, name, value, seconds=60):
        return until(f"{name} is {value}", lambda: self.status(page)[name] == value, seconds)

    def picture(self, page, name, full=False):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full)
