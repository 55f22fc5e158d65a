"""The documents of the interface, as a running service hands them out: valid, and true to the schemas."""
import json
import re
import subprocess
import tempfile
import unittest
import urllib.request

from servers import ROOT, Database, Service

TOOLS = ROOT / ".local/operations/bin"


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.database = Database()
        cls.service = Service(cls.database)
        cls.addClassCleanup(cls.service.close)

    def read(self, name):
        with urllib.request.urlopen(f"{self.service.origin}/{name}", timeout=10) as answer:
            self.assertEqual(answer.headers["Content-Type"], "application/json")
            return json.load(answer)

    def test_openapi_is_valid(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(self.read("openapi.json"), file)
            file.flush()
            run = subprocess.run([TOOLS / "openapi-spec-validator", file.name], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_the_guide_has_a_section_for_each_path(self):
        described = {(method.upper(), path.replace("{id}", "ID"))
                     for path, methods in self.read("openapi.json")["paths"].items() for method in methods}
        headings = re.findall(r"^## (GET|POST) (/.*)$", (ROOT / "docs/http.md").read_text(), re.M)
        told = {(method, path) for method, paths in headings for path in paths.split(", ")}
        self.assertEqual(told - {("GET", "/openapi.json"), ("GET", "/asyncapi.json")}, described)

    def test_asyncapi_describes_every_frame_and_event(self):
        document = self.read("asyncapi.json")
        self.assertRegex(document["asyncapi"], r"^3\.")
        messages = document["components"]["messages"]
        schemas = {path.stem for path in (ROOT / "Schemas").glob("*.json")}
        self.assertEqual({name for name in schemas if name.startswith("stream.")},
                         {name for name in messages if name.startswith("stream.")})
        for message in messages.values():
            kind, name = message["payload"]["$ref"].rsplit("/", 1)
            self.assertEqual(kind, "#/components/schemas")
            self.assertIn("properties", document["components"]["schemas"][name])
        channel = document["channels"]["stream"]["messages"]
        self.assertEqual(set(channel), set(messages))
        self.assertEqual({reference["$ref"] for reference in document["operations"]["deliver"]["messages"]},
                         {f"#/channels/stream/messages/{name}" for name in messages})


class Conformance(unittest.TestCase):
    """What the document says is what the service does: schemathesis makes requests of it, good and bad ones."""

    secret = "a secret of this test, of 32 bytes or more"

    @classmethod
    def setUpClass(cls):
        # Requests without a token are meant to be refused, however many come; streams are read to their end.
        cls.service = Service(Database(), "--auth", "required", "--jwt-secret", cls.secret, "--auth-failure-rate", "0",
                              "--max-connections-per-user", "0", "--stream-lifetime", "1s")
        cls.addClassCleanup(cls.service.close)
        cls.token = subprocess.check_output(
            [ROOT / ".build/release/event-service", "token", "--jwt-secret", cls.secret, "--user", "ann",
             "--context", "*", "--publish-audience", "*", "--scope", "events:read events:publish"], text=True).strip()

    def exercise(self, phases, *selection):
        """Starts schemathesis for some of the paths: it is one process for each, since many requests just wait."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return subprocess.Popen(
            [TOOLS / "schemathesis", "run", f"{self.service.origin}/openapi.json", *selection,
             "--phases", phases, "--max-examples", "50", "--seed", "1", "--continue-on-failure",
             "--warnings", "off", "--request-timeout", "60", "--generation-database", "none",
             # PostgreSQL's texts hold none, which JSON Schema has no word for within `data`.
             "--generation-allow-x00", "false",
             # Our token alone: two at once are refused.
             "--generation-with-security-parameters", "false", "-H", f"Authorization: Bearer {self.token}"],
            cwd=folder.name, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def test_schemathesis_finds_no_violation(self):
        slow = ["/api/v1/events/stream", "/api/v1/events/history"]
        # Good requests alone are made up at random: a bad parameter that another one overrules is not read, for
        # which the document has no word.
        runs = [self.exercise(phases, "--include-path", path, *mode) for path in slow
                for phases, *mode in (("coverage",), ("fuzzing", "--mode", "positive"))]
        runs.append(self.exercise("coverage,fuzzing", *(word for path in slow for word in ("--exclude-path", path))))
        for run, operations in zip(runs, (1, 1, 1, 1, 5)):
            text, _ = run.communicate(timeout=300)
            self.assertEqual(run.returncode, 0, text)
            self.assertIn(f"Tested: {operations}\n", text)
            self.assertGreaterEqual(int(re.search(r"(\d+) generated", text)[1]), 50)


if __name__ == "__main__":
    unittest.main()
