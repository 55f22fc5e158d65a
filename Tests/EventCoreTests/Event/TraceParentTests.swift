import EventCore
import Testing

@Suite struct `Trace parents` {
    private static let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    @Test(arguments: [
        good, "00-00000000000000000000000000000001-0000000000000001-00",
        "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-ff",
    ])
    func `a value of version 00 is kept as it came`(_ text: String) {
        #expect(TraceParent(text)?.text == text)
    }

    @Test(arguments: [
        "", "00", "nonsense", "01" + good.dropFirst(2), "ff" + good.dropFirst(2), good + "-x",
        good + " ", " " + good, String(good.dropLast()), good.uppercased(),
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-000f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        "00-4bf92f3577b34da6a3ce929d0e0e47ä6-0f067aa0ba902b7-01",
        "00-4bf92f3577b34da6\"3ce929d0e0e4736-00f067aa0ba902b7-01",
    ])
    func `anything else is none`(_ text: String) {
        #expect(TraceParent(text) == nil)
    }
}
