"""The demo page in Firefox: live updates, and recovery."""
from firefox import Firefox
from support import ServiceTest, until


class FirefoxTest(ServiceTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.firefox = Firefox()
        cls.addClassCleanup(cls.firefox.close)

    def text(self, selector):
        return self.firefox.evaluate(f"document.querySelector({selector!r})?.innerText ?? ''")

    def test_live_updates_and_recovery_without_a_lost_event(self):
        firefox = self.firefox
        firefox.goto(self.service.origin)
        until("live", lambda: self.text(".es-connection [aria-hidden]:nth-child(2)") == "Live")
        task = self.sql("INSERT INTO tasks (title, context, status) VALUES ('Render report', 'demo', 'running') RETURNING id")
        until("the card", lambda: "Render report" in self.text(".card"))
        self.sql(f"UPDATE tasks SET progress = 40 WHERE id = {task}")
        until("the bar", lambda: firefox.evaluate("document.querySelector('.card progress').value") == 40)
        self.assertEqual(self.service.opened(), 1)
        with self.away():
            until("the hint", lambda: "again in" in self.text(".es-hint"))
            self.sql("".join(f"UPDATE tasks SET progress = {step} WHERE id = {task};" for step in range(41, 100)))
            firefox.picture("firefox-waiting")
        until("live again", lambda: self.text(".es-connection [aria-hidden]:nth-child(2)") == "Live")
        until("the bar", lambda: firefox.evaluate("document.querySelector('.card progress').value") == 99)
        until("the verdict", lambda: "59 events happened meanwhile: all are here, each once."
              in self.text(".verdicts").replace("\n", " "))
        until("the health", lambda: self.text(".pill") == "Service: ready")
        until("the dot is green", lambda: firefox.evaluate(
            "getComputedStyle(document.querySelector('.es-dot')).backgroundColor") == "rgb(26, 127, 55)")
        firefox.picture("firefox")

    def test_two_tabs_share_a_stream(self):
        firefox = self.firefox
        opened = self.service.opened()
        first = firefox.context
        firefox.goto(self.service.origin)
        until("live", lambda: self.text(".es-connection [aria-hidden]:nth-child(2)") == "Live")
        second = firefox.send("browsingContext.create", type="tab")["context"]
        firefox.context = second
        firefox.goto(self.service.origin)
        until("live", lambda: self.text(".es-connection [aria-hidden]:nth-child(2)") == "Live")
        until("it follows", lambda: "another tab" in self.text(".health"))
        self.assertEqual(self.service.opened() - opened, 1)
        firefox.send("browsingContext.close", context=first)
        until("it leads", lambda: "by stream" in self.text(".health"))
        self.sql("INSERT INTO tasks (title, status) VALUES ('After the leader', 'running')")
        until("the card", lambda: "After the leader" in self.text("#board"))
