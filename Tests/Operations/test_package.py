"""The Debian package on a fresh Debian 12: installs, starts by the command, user and limits of its unit, works,
and goes without a trace."""
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import unittest
import urllib.request

from servers import ROOT, Database, until
from test_guides import dead_links

UNIT = "lib/systemd/system/event-service.service"


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


class FreshRoot:
    """A Debian 12 with nothing but apt, systemd and what every one has."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="event-service-root-", dir="/dev/shm")
        run("mmdebstrap", "--mode=root", "--variant=apt", "--include=systemd", "--dpkgopt=force-unsafe-io", "bookworm", self.folder)
        shutil.copy("/etc/resolv.conf", self.path("etc/resolv.conf"))
        for options in (["-t", "proc", "proc", f"{self.folder}/proc"], ["--bind", "/dev", f"{self.folder}/dev"]):
            run("mount", *options)
        # The clock of a test machine may be anywhere.
        self.run("apt-get", "update", "-o", "Acquire::Check-Date=false", "-o", "Acquire::Check-Valid-Until=false")

    def path(self, name):
        return pathlib.Path(self.folder, name.lstrip("/"))

    def run(self, *command, **options):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        return run("chroot", self.folder, *command, env=environment, **options)

    def files(self):
        """All that is there but what apt and dpkg keep for themselves."""
        own = ("proc/", "dev/", "var/lib/dpkg/", "var/lib/apt/", "var/cache/", "var/log/")
        paths = run("find", self.folder, "-xdev", "-printf", "%P\n").splitlines()
        return {path for path in paths if not path.startswith(own)}

    def close(self):
        for name in ("dev", "proc"):
            subprocess.run(["umount", "-l", f"{self.folder}/{name}"], check=False)
        # Never into what is still mounted.
        subprocess.run(["rm", "-rf", "--one-file-system", self.folder], check=False)


class Unit:
    """What the unit says, as systemd reads it."""

    def __init__(self, text):
        self.values = {}
        for name, value in re.findall(r"^(\w+)=(.*)$", text, re.M):
            self.values.setdefault(name, []).append(value)

    def __getitem__(self, name):
        return self.values[name][-1]


@unittest.skipUnless(os.getuid() == 0, "a root of its own needs root")
class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.package = ROOT / run(ROOT / "dev/package").strip()
        cls.root = FreshRoot()
        cls.addClassCleanup(cls.root.close)
        cls.database = Database()

    def test_it_installs_serves_as_its_unit_says_and_goes_without_a_trace(self):
        root = self.root
        before = root.files()
        root.path("tmp/event-service.deb").write_bytes(self.package.read_bytes())
        said = root.run("apt-get", "install", "-y", "--no-install-recommends", "/tmp/event-service.deb")
        self.assertIn("/etc/event-service/environment", said)
        self.assertRegex(said, r"DATABASE_URL=\S+ event-service migrate")
        self.assertTrue(root.path(re.search(r"stands in (/usr/\S+)", said)[1]).is_file())
        # What it brought along stays, as apt leaves it.
        root.run("apt-mark", "manual", *root.run("apt-mark", "showauto").split())
        self.assertRegex(root.run("event-service", "--version"), r"^event-service \d")
        self.assertIn("--streams N", root.run("event-service-load", "--help"))
        with self.subTest("the guides"):
            pages = list(root.path("usr/share/doc/event-service").rglob("*.md"))
            self.assertGreater(len(pages), 20)
            for page in pages:
                self.assertEqual(list(dead_links(page)), [], page)
            for file in ("prometheus/alerts.yml", "grafana/event-service.json", "proxies/nginx.conf"):
                self.assertTrue(root.path(f"usr/share/doc/event-service/Config/{file}").is_file(), file)
        with self.subTest("the unit"):
            self.check_unit()
        with self.subTest("serving"):
            self.check_service()
        with self.subTest("installing it again keeps what was set"):
            settings = root.path("etc/event-service/environment")
            settings.write_text(settings.read_text() + "EVENT_SERVICE_LOG_FORMAT=json\n")
            root.run("apt-get", "install", "-y", "--reinstall", "/tmp/event-service.deb")
            self.assertIn("LOG_FORMAT=json", settings.read_text())
            self.assertEqual(settings.stat().st_mode & 0o777, 0o640)
        with self.subTest("its migrations can be applied before it is installed"), tempfile.TemporaryDirectory() as new:
            run("dpkg-deb", "-x", self.package, new)
            self.database.sql("CREATE DATABASE before_the_package")
            url = self.database.url.rsplit("/", 1)[0] + "/before_the_package"
            said = run(f"{new}/usr/bin/event-service", "migrate", "--database-url", url)
            self.assertIn("applied 0001_event_log.sql", said)
        with self.subTest("purging"):
            root.run("apt-get", "purge", "-y", "event-service")
            root.path("tmp/event-service.deb").unlink()
            left = {path for path in root.files() - before if "event-service" in path or path.startswith("etc/systemd")}
            self.assertEqual(left, set())
            for file in ("etc/passwd", "etc/group", "etc/shadow"):
                self.assertNotIn("event-service", root.path(file).read_text())
            self.assertIn("event_service", self.database.sql("SELECT nspname FROM pg_namespace"))
        with self.subTest("as the image does it"):
            self.check_image()

    def check_image(self):
        """What the Dockerfile copies, runs and starts, in the same root."""
        root = self.root
        text = (ROOT / "Config/docker/Dockerfile").read_text()
        (script,) = re.findall(r"^RUN ((?:.*\\\n)*.*)$", text, re.M)
        (user,) = re.findall(r"^USER (\S+)$", text, re.M)
        root.path("etc/apt/apt.conf.d/clock").write_text(
            'Acquire::Check-Date "false"; Acquire::Check-Valid-Until "false";\n')
        root.path(f"tmp/{self.package.name}").write_bytes(self.package.read_bytes())
        root.run("sh", "-ec", script)
        self.assertEqual(list(root.path("tmp").glob("*.deb")), [])
        self.assertEqual(root.run("id", "-nu", user.split(":")[0]), "event-service\n")
        shown = run("chroot", f"--userspec={user}", root.folder, "/usr/bin/event-service", "--version")
        self.assertRegex(shown, r"^event-service \d")

    def check_unit(self):
        unit = self.root.path(UNIT)
        run("systemd-analyze", "verify", "--man=no", f"--root={self.root.folder}", f"/{UNIT}")
        exposure = run("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit)
        self.assertRegex(exposure, r"Overall exposure level.* OK")
        self.assertEqual(Unit(unit.read_text())["Restart"], "always")

    def check_service(self):
        unit = Unit(self.root.path(UNIT).read_text())
        self.database.sql("DO $$ BEGIN CREATE ROLE package_login LOGIN IN ROLE event_service_runtime;"
                          " EXCEPTION WHEN duplicate_object THEN END $$")
        url = re.sub(r"//[^@]*@", "//package_login@", self.database.url)
        pathlib.Path(self.root.path("etc/event-service/environment")).write_text(
            f"DATABASE_URL={url}\nEVENT_SERVICE_AUTH=none\nEVENT_SERVICE_LISTEN=127.0.0.1:0\nEVENT_SERVICE_OPS_LISTEN=127.0.0.1:0\n")
        environment = dict(
            line.split("=", 1) for line in
            self.root.path(unit["EnvironmentFile"].lstrip("-")).read_text().splitlines() if "=" in line)
        user, group = (self.root.run("id", option, unit["User"]).strip() for option in ("-u", "-g"))
        descriptors = min(int(unit["LimitNOFILE"]), 20_000)
        start = ["prlimit", f"--nofile={descriptors}", "/usr/sbin/chroot", self.root.folder,
                 "setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs",
                 "--bounding-set=-all"]
        environment["PATH"] = "/usr/bin:/bin"
        command = shlex.split(unit["ExecStart"])
        doctor = subprocess.run([*start, command[0], "doctor", *command[2:]], env=environment,
                                capture_output=True, text=True, timeout=120)
        self.assertEqual(doctor.returncode, 0, doctor.stdout + doctor.stderr)
        log = self.root.path("tmp/log")
        with open(log, "w") as file:
            process = subprocess.Popen([*start, *command], env=environment, stderr=file)
        try:
            ports = until("it listens", lambda: re.search(r"address=\S+:(\d+) ops=\S+:(\d+)", log.read_text()), 60)
            public, ops = (f"http://127.0.0.1:{port}" for port in ports.groups())
            until("it is ready", lambda: self.status(f"{public}/readyz") == 200, 60)
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            self.assertRegex(status, rf"Uid:\s{user}\s{user}\s{user}\s{user}\n")
            self.assertRegex(status, r"CapEff:\s0+\n")
            self.assertIn(f"event_service_process_max_fds {descriptors}\n", self.text(f"{ops}/metrics"))
            self.assertIn("createStream", self.text(f"{public}/client/index.js"), "the modules come along")
            self.database.sql("INSERT INTO tasks (title, context) VALUES ('from the package', 'a')")
            until("an event is there", lambda: "from the package" in
                  self.text(f"{public}/api/v1/events/history?since=earliest"))
        finally:
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(30), 0, log.read_text())
            log.unlink()

    @staticmethod
    def status(url):
        try:
            return urllib.request.urlopen(url, timeout=5).status
        except OSError:
            return None

    @staticmethod
    def text(url):
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read().decode()


if __name__ == "__main__":
    unittest.main()
