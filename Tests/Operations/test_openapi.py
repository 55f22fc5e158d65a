"""The documents of the interface, as a running service hands them out: valid, and true to the schemas."""
import json
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


if __name__ == "__main__":
    unittest.main()
