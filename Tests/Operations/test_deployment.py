"""The proxy in front, and the files for containers."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

from servers import ROOT, Database, Service, free_port, until

CONTAINERS = ROOT / "Config/docker"


class Front:
    """A proxy of Debian's with our configuration, on a port of its own and with a certificate of its own."""

    def __init__(self, service):
        self.directory = tempfile.TemporaryDirectory(prefix="event-service-proxy-")
        self.folder = pathlib.Path(self.directory.name)
        self.folder.chmod(0o755)
        self.certificate = self.folder / "certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost", "-keyout", self.folder / "key.pem", "-out", self.certificate],
                       check=True, capture_output=True)
        self.port = free_port()
        self.environment = None
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(self.prepare(service), env=self.environment, stderr=self.log)
        until("the proxy serves", lambda: self.curl("/readyz").returncode == 0)

    def prepare(self, service):
        """Writes the configuration; the command that starts the proxy."""
        raise NotImplementedError

    @staticmethod
    def configuration(name, *changes):
        """A file of ours with other ports and names."""
        text = (ROOT / "Config/proxies" / name).read_text()
        for ours, test in changes:
            assert ours in text, ours
            text = text.replace(ours, str(test))
        return text

    def command(self, *paths_and_options):
        return ["curl", "-sS", "--http2", "--cacert", str(self.certificate), *(
            f"https://localhost:{self.port}{word}" if word.startswith("/") else word for word in paths_and_options)]

    def curl(self, *words):
        return subprocess.run(self.command("-f", *words), capture_output=True, text=True, timeout=20)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        self.directory.cleanup()


class Nginx(Front):
    def prepare(self, service):
        text = self.configuration(
            "nginx.conf", ("127.0.0.1:8080", f"127.0.0.1:{service.port}"), ("listen 443", f"listen 127.0.0.1:{self.port}"),
            ("events.example;", "localhost;"), ("/etc/ssl/certs/events.example.pem", self.certificate),
            ("/etc/ssl/private/events.example.key", self.folder / "key.pem"))
        file = self.folder / "nginx.conf"
        file.write_text(
            f"daemon off; master_process off; pid {self.folder}/pid; error_log {self.folder}/error.log;\n"
            f"events {{}}\nhttp {{ access_log off; client_body_temp_path {self.folder}/body; proxy_temp_path {self.folder}/proxy;\n"
            f"fastcgi_temp_path {self.folder}/f; uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;\n{text}}}\n")
        return ["/usr/sbin/nginx", "-c", file, "-e", self.folder / "error.log"]


class HAProxy(Front):
    def prepare(self, service):
        # One file with both, as HAProxy has it.
        pair = self.folder / "pair.pem"
        pair.write_text(self.certificate.read_text() + (self.folder / "key.pem").read_text())
        file = self.folder / "haproxy.cfg"
        file.write_text(self.configuration(
            "haproxy.cfg", ("127.0.0.1:8080", f"127.0.0.1:{service.port}"), ("bind :443", f"bind 127.0.0.1:{self.port}"),
            ("/etc/haproxy/certs/events.example.pem", pair)))
        subprocess.run(["/usr/sbin/haproxy", "-c", "-q", "-f", file], check=True)
        return ["/usr/sbin/haproxy", "-db", "-q", "-f", file]


class Caddy(Front):
    def prepare(self, service):
        # It would get its certificate from an authority on the net.
        site = f"https://localhost:{self.port} {{\n\ttls {self.certificate} {self.folder}/key.pem"
        file = self.folder / "Caddyfile"
        file.write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + self.configuration(
            "Caddyfile", ("127.0.0.1:8080", f"127.0.0.1:{service.port}"), ("events.example {", site)))
        # Where it keeps things.
        self.environment = {"HOME": str(self.folder), "PATH": os.environ["PATH"]}
        return ["/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", file]


class Proxied:
    """What holds behind any proxy."""

    front = Front

    @classmethod
    def setUpClass(cls):
        cls.database = Database()
        cls.service = Service(cls.database, "--heartbeat", "500ms", "--trusted-proxies", "127.0.0.1")
        cls.addClassCleanup(cls.service.close)
        cls.proxy = cls.front(cls.service)
        cls.addClassCleanup(cls.proxy.close)

    def test_a_stream_comes_through_tls_and_http2_as_events_happen(self):
        with tempfile.TemporaryFile("w+") as output:
            client = subprocess.Popen(
                self.proxy.command("-N", "-i", "/api/v1/events/stream?context=proxy"), stdout=output)

            def text():
                return os.pread(output.fileno(), 1 << 20, 0).decode()

            try:
                until("the stream is live", lambda: "event: stream.live" in text())
                self.assertRegex(text(), r"^HTTP/2 200")
                until("heartbeats come", lambda: ": hb" in text())
                for number in range(3):
                    self.database.sql(f"INSERT INTO tasks (title, context) VALUES ('number {number}', 'proxy')")
                    until("the event comes", lambda: f"number {number}" in text())
            finally:
                client.terminate()
                client.wait()

    def test_other_requests_come_through_too(self):
        published = self.proxy.curl("/api/v1/events", "-H", "Content-Type: application/json", "-d",
                                    '{"type":"note.added","audience":["*"],"data":{"text":"through the proxy"}}')
        self.assertIn("event_id", published.stdout)
        until("it is in the history", lambda: "through the proxy" in
              self.proxy.curl("/api/v1/events/history?since=earliest").stdout)
        self.assertIn("<title>", self.proxy.curl("/").stdout)

    def test_the_service_sees_the_address_of_the_client_not_what_the_client_says(self):
        opened = self.service.opened()
        subprocess.run(self.proxy.command("-N", "-m", "2", "-H", "X-Forwarded-For: 203.0.113.9", "/api/v1/events/stream"),
                       capture_output=True)
        until("the stream was opened", lambda: self.service.opened() > opened)
        self.assertNotIn("203.0.113.9", self.service.text())


class BehindNginx(Proxied, unittest.TestCase):
    front = Nginx


class BehindHAProxy(Proxied, unittest.TestCase):
    front = HAProxy


class BehindCaddy(Proxied, unittest.TestCase):
    front = Caddy


class Containers(unittest.TestCase):
    """No engine runs here: what is named must be there."""

    def test_compose_names_only_what_there_is(self):
        services = yaml.safe_load((CONTAINERS / "compose.yml").read_text())["services"]
        self.assertEqual(set(services), {"postgres", "migrate", "event-service", "prometheus", "grafana"})
        for name, service in services.items():
            self.assertTrue("image" in service or "build" in service, name)
            for volume in service.get("volumes", []):
                self.assertTrue((CONTAINERS / volume.split(":")[0]).exists(), volume)
            for other in service.get("depends_on", []):
                self.assertIn(other, services)
            # The image's ENTRYPOINT is the program: what stands here is one of its subcommands.
            for word in service.get("command", []):
                self.assertIn(f"\n  {word} ", self.help())
            if "build" in service:
                self.assertEqual((CONTAINERS / service["build"]["context"]).resolve(), ROOT)
                self.assertTrue((ROOT / service["build"]["dockerfile"]).exists())

    @staticmethod
    def help():
        return subprocess.check_output([ROOT / ".build/release/event-service", "--help"], text=True)

    def test_hadolint_finds_nothing(self):
        run = subprocess.run([ROOT / ".local/operations/bin/hadolint", "--no-color", CONTAINERS / "Dockerfile"],
                             capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stdout), (0, ""))

    def test_the_image_takes_what_the_package_is(self):
        text = (CONTAINERS / "Dockerfile").read_text()
        (source,) = re.findall(r"^COPY (\S+) ", text, re.M)
        self.assertTrue(pathlib.PurePath(".local/package/event-service_1.2.3_amd64.deb").match(source))
        self.assertIn(".local/package/", (ROOT / "dev/package").read_text())
        # It is for the release on which the package is built and installed in a test.
        self.assertIn("FROM debian:12", text)
        user, group = re.search(r"^USER (\d+):(\d+)$", text, re.M).groups()
        self.assertRegex(text, rf"groupadd .*--gid {group} event-service ")
        self.assertRegex(text.replace("\\\n", " "), rf"useradd .*--uid {user} --gid {group} .* event-service ")
        self.assertIn("getent passwd event-service", (ROOT / "Config/debian/postinst").read_text())
        (entry,) = re.findall(r"^ENTRYPOINT (.*)$", text, re.M)
        (command,) = re.findall(r"^CMD (.*)$", text, re.M)
        self.assertEqual(json.loads(entry), ["event-service"])
        self.assertIn(f"\n  {json.loads(command)[0]} ", self.help())

    def test_the_image_sets_only_settings_that_exist(self):
        text = (CONTAINERS / "Dockerfile").read_text() + (CONTAINERS / "compose.yml").read_text()
        known = subprocess.check_output([ROOT / ".build/release/event-service", "serve", "--help"], text=True)
        for variable in re.findall(r"EVENT_SERVICE_(\w+)[=:]", text):
            self.assertIn("--" + variable.lower().replace("_", "-"), known)


if __name__ == "__main__":
    unittest.main()
