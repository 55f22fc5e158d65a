import EventCore
import Testing

@Suite struct `What doctor decides` {
    @Test func `a check is one line, and a fault ends with what mends it`() {
        #expect(
            CheckResult.ok("clock", "all is well").line == "ok   clock       all is well")
        #expect(
            CheckResult.fault("connection", "it is away", mend: "start it").line
                == "FAIL connection  it is away; mend: start it")
    }

    @Test(arguments: [
        // Before, the database's, after, in milliseconds; the skew.
        (0, 0, 0, 0), (0, 5, 10, 0), (0, 2000, 0, 2000), (0, 2001, 0, 2001), (0, -2001, 0, -2001),
        (1000, 990, 1010, -10), (0, 5000, 6000, 0), (0, 8001, 6000, 2001), (0, 8000, 6000, 2000),
        (10_000, 7000, 60_000, -3000), (0, 3_600_000, 1, 3_599_999),
    ])
    func `of a difference between clocks only what the question itself cannot explain counts`(
        before: Int64, database: Int64, after: Int64, skew: Int64
    ) {
        let comparison = ClockComparison(
            before: Timestamp(microseconds: before * 1000),
            database: Timestamp(microseconds: database * 1000),
            after: Timestamp(microseconds: after * 1000))
        #expect(comparison.skew == .milliseconds(skew))
        #expect(comparison.result.isOK == (abs(skew) <= 2000))
        if !comparison.result.isOK {
            let direction = skew < 0 ? "behind" : "ahead of"
            #expect(comparison.result.finding.contains("\(direction) this machine's"))
        }
    }

    @Test(
        arguments: [
            (.zero, "less than 1 ms"), (.microseconds(999), "less than 1 ms"),
            (.milliseconds(1), "1 ms"), (.milliseconds(999), "999 ms"),
            (.milliseconds(1000), "1.0 s"),
            (.milliseconds(1049), "1.0 s"), (.milliseconds(1050), "1.1 s"),
            (.milliseconds(59_940), "59.9 s"), (.seconds(60), "1m 0s"), (.seconds(3599), "59m 59s"),
            (.seconds(3600), "1h 0m 0s"), (.seconds(200_000), "2d 7h 33m 20s"),
        ] as [(Duration, String)])
    func `durations are said as people say them`(duration: Duration, text: String) {
        #expect(DurationText.rounded(duration) == text)
    }

    @Test(
        arguments: [
            (10_000, 20_000, nil), (10_000, 10_192, nil), (1, 193, nil), (10_000, .max, nil),
            (10_000, 10_191, "set max_connections=9999"), (10_000, 1024, "set max_connections=832"),
            (10_000, 192, "ulimit -Hn)"), (1, 100, "ulimit -Hn)"), (1_000_000, 0, "ulimit -Hn)"),
        ] as [(Int, UInt64, String?)])
    func `the hard limit of files must have room for all connections`(
        connections: Int, limit: UInt64, mend: String?
    ) {
        let result = DescriptorNeed(
            maxConnections: connections, reserve: 192, hardLimit: limit
        ).result
        #expect(result.isOK == (mend == nil))
        #expect(result.mend?.hasSuffix(mend ?? "") ?? true, "\(result)")
    }

    @Test(arguments: [
        (0, "0 %", true), (0.000_001, "1 %", true), (0.25, "25 %", true), (0.2501, "26 %", false),
        (1, "100 %", false),
    ])
    func `a queue of notifications that fills is a fault long before it is full`(
        usage: Double, text: String, isOK: Bool
    ) {
        let result = NotificationQueue.result(usage: usage)
        #expect(result.isOK == isOK)
        #expect(result.finding.contains("\(text) full"))
    }

    @Test(arguments: [
        ("", 0, "none", true), ("", 2, "2 connected, asynchronous", true),
        ("FIRST 1 (a)", 1, "1 connected, synchronous", true),
        ("FIRST 1 (a)", 0, "every commit waits", false),
    ])
    func `a standby that commits wait for must be there`(
        names: String, connected: Int, finding: String, isOK: Bool
    ) {
        let result = Standbys.result(synchronousNames: names, connected: connected)
        #expect(result.isOK == isOK)
        #expect(result.finding.contains(finding))
    }

    @Test(arguments: [
        (
            "connection to server at \"h\", port 1 failed: FATAL: role \"x\" does not exist",
            "create the login"
        ),
        ("FATAL: database \"x\" does not exist", "create the database"),
        (
            "FATAL: no pg_hba.conf entry for host \"h\", user \"u\", database \"d\"",
            "pg_hba.conf, and reload"
        ),
        ("FATAL: sorry, too many clients already", "max_connections"),
        ("FATAL: remaining connection slots are reserved for …", "max_connections"),
        ("FATAL: the database system is starting up", "wait"),
        ("failed: timeout expired", "firewall"),
        ("FATAL: Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen", "check host, port"),
        ("", "check host, port"),
    ])
    func `what libpq says leads to what mends it`(message: String, mend: String) throws {
        let result = ConnectionFault.result(message)
        #expect(result.finding == message)
        #expect(try #require(result.mend).contains(mend))
    }
}
