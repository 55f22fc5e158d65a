"""Tokens in Chromium, against the real service: renewal, expiry, revocation, tickets, other origins."""
import base64
import hashlib
import hmac
import json
import time

from chromium import ChromiumTest
from support import Service, until

SECRET = "a secret that is long enough for HS256"


def token(lifetime=60, sub="ann", **claims):
    """A token as the application's sign-in would give it."""
    now = int(time.time())
    parts = [{"alg": "HS256", "typ": "JWT"},
             {"sub": sub, "iat": now, "exp": now + lifetime, "contexts": ["demo"], **claims}]
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    signature = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()
    return text + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


class TokenTest(ChromiumTest):
    settings = ("--auth", "required", "--jwt-secret", SECRET, "--jwt-leeway", "0")

    def publish(self, audience="user:ann"):
        return self.sql(f"SELECT event_service.publish('test.tick', '1', '{{{audience}}}')")

    def give(self, page, *tokens):
        """The tokens that the page's sign-in will give, one after the other, and then the last again."""
        page.evaluate("""(tokens) => {
            window.asked = [];
            window.sign = (why) => { asked.push(why); return tokens[Math.min(asked.length, tokens.length) - 1]; };
        }""", list(tokens))

    def test_a_token_that_is_refused_is_renewed_once(self):
        page = self.open_blank()
        self.give(page, token(-5), token())
        self.client(page, "token: sign")
        self.expect_status(page, "phase", "open")
        self.assertEqual(page.evaluate("asked"), ["first", "rejected"])
        self.publish()
        until("the event", lambda: page.evaluate("seen.length") == 1)

    def test_a_tab_that_hears_another_one_renews_its_token_to_read_what_it_lacks(self):
        leader, late = self.open_blank(), self.open_blank()
        self.give(leader, token())
        self.client(leader, "token: sign")
        self.expect_status(leader, "phase", "open")
        self.publish()
        until("the event", lambda: leader.evaluate("seen.length") == 1)
        self.give(late, token(-5), token())
        self.client(late, "token: sign, since: 'earliest'")
        until("the past", lambda: late.evaluate("seen.at(-1)") == leader.evaluate("seen[0]"))
        self.publish()
        until("what comes", lambda: late.evaluate("seen.at(-1)") == leader.evaluate("seen[1] ?? ''"))
        self.assertEqual(late.evaluate("asked"), ["first", "rejected"])
        self.assertEqual((self.status(late)["role"], late.evaluate("gaps")), ("follower", []))

    def test_a_second_refusal_closes(self):
        page = self.open_blank()
        self.give(page, token(-5))
        self.client(page, "token: sign")
        self.expect_status(page, "phase", "closed")
        self.assertEqual(self.status(page)["error"]["code"], "unauthorized")
        self.assertEqual(page.evaluate("asked"), ["first", "rejected"])

    def test_a_token_that_expires_is_renewed_and_nothing_is_lost(self):
        page = self.open_blank()
        self.give(page, token(3), token())
        self.client(page, "token: sign")
        self.expect_status(page, "phase", "open")
        count = 0
        end = time.monotonic() + 20
        while page.evaluate("asked.length") < 2 and time.monotonic() < end:
            self.publish()
            count += 1
            time.sleep(0.05)
        self.assertEqual(page.evaluate("asked"), ["first", "expired"])
        self.expect_status(page, "phase", "open")
        until("all events", lambda: page.evaluate("seen.length") == count)
        self.assertEqual(page.evaluate("new Set(seen).size"), count)

    def test_a_user_who_is_revoked_is_shut_out_and_comes_back_with_a_later_token(self):
        page = self.open_blank()
        self.give(page, token(sub="bob"))
        self.client(page, "token: sign")
        self.expect_status(page, "phase", "open")
        self.sql("SELECT event_service.revoke(user_id => 'bob')")
        self.expect_status(page, "phase", "closed")
        self.assertEqual(self.status(page)["error"]["code"], "stopped-by-server")
        self.assertEqual(page.evaluate("asked"), ["first", "rejected"])
        time.sleep(1.1)
        self.give(page, token(sub="bob"))
        self.client(page, "token: sign")
        self.expect_status(page, "phase", "open")

    def test_a_context_that_is_not_granted_closes_and_names_it(self):
        page = self.open_blank()
        self.give(page, token())
        self.client(page, "token: sign, filters: { context: 'billing' }")
        self.expect_status(page, "phase", "closed")
        error = self.status(page)["error"]
        self.assertEqual((error["code"], error["status"]), ("forbidden", 403))
        self.assertIn("billing", error["message"])

    def test_tabs_of_one_user_share_and_those_of_another_never_do(self):
        opened = self.service.opened()
        pages = [self.open_blank() for _ in range(3)]
        for page, sub, jti in zip(pages, ("ann", "ann", "bob"), "xyz"):
            self.give(page, token(sub=sub, jti=jti))
            self.client(page, "token: sign")
            self.expect_status(page, "phase", "open")
        self.publish("user:ann")
        for page in pages[:2]:
            until("ann's event", lambda: page.evaluate("seen.length") == 1)
        self.publish("user:bob")
        until("bob's event", lambda: pages[2].evaluate("seen.length") == 1)
        self.assertEqual([page.evaluate("seen.length") for page in pages], [1, 1, 1])
        self.assertEqual(self.service.opened() - opened, 2)

    def test_the_native_event_source_goes_on_with_a_new_ticket_each_time(self):
        page = self.open_blank()
        self.give(page, token())
        page.evaluate("async () => { window.native = await import('/client/eventsource.js') }")
        self.client(page, "token: sign, transport: native.eventSourceTransport({ types: ['test.tick'] }), backoff: { min: 50 }")
        self.expect_status(page, "phase", "open")
        self.publish()
        until("the event", lambda: page.evaluate("seen.length") == 1)
        with self.away():
            self.expect_status(page, "phase", "waiting")
            self.publish()
        until("what was missed", lambda: page.evaluate("seen.length") == 2)

    def test_history_takes_the_same_token(self):
        page = self.open_blank()
        self.give(page, token())
        page.route("**/events/stream*", lambda route: route.abort())
        self.client(page, "token: sign, backoff: { min: 50 }, fallback: { everyMs: 200, afterFailures: 1 }")
        self.expect_status(page, "phase", "polling")
        self.publish()
        until("the event", lambda: page.evaluate("seen.length") == 1)


class OtherOriginTest(ChromiumTest):
    settings = TokenTest.settings

    def test_a_page_of_an_allowed_origin_has_the_stream_and_sees_when_to_come_back(self):
        # Another port is another origin; the page comes from a service that only serves files.
        pages = Service(self.database, *self.settings)
        self.addCleanup(pages.close)
        self.service.close()
        type(self).service = Service(self.database, *self.settings, "--allowed-origins", pages.origin)
        self.addClassCleanup(self.service.close)
        page = self.context.new_page()
        page.goto(f"{pages.origin}/client/react.d.ts")
        page.evaluate("""async ([url, token]) => {
            const { createStream } = await import('/client/index.js');
            window.seen = [];
            window.stream = createStream({ url, token, backoff: { min: 50 } });
            stream.on('*', ({ id }) => seen.push(id));
            stream.open();
        }""", [self.service.stream, token()])
        self.expect_status(page, "phase", "open")
        self.sql("SELECT event_service.publish('test.tick', '1', '{user:ann}')")
        until("the event", lambda: page.evaluate("seen.length") == 1)
        with self.away():
            self.expect_status(page, "phase", "waiting")
            self.sql("SELECT event_service.publish('test.tick', '2', '{user:ann}')")
        until("what was missed", lambda: page.evaluate("seen.length") == 2)
