import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct RetentionUnderLoad {
    @Test(.timeLimit(.minutes(3)))
    func `with two nodes that drop partitions under load, a stream has all, or is told`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            try database.run(
                """
                CREATE OR REPLACE FUNCTION event_service.partition_size() RETURNS bigint
                    LANGUAGE sql IMMUTABLE AS 'SELECT 500::bigint';
                DROP TABLE event_service.log_p0, event_service.log_p1;
                SELECT event_service.ensure_partitions()
                """)
            let options = [
                "--retention", "1s", "--ring-bytes", "256KiB", "--max-backlog-bytes", "64KiB",
            ]
            let nodes = try (0..<2).map { _ in
                try ServiceProcess(database: database.url, options)
            }
            let ports = nodes.map(\.port)
            let steady = ports.map { Follower([$0]) }
            // One that does not read for a while, and ones that come back within, about and past what is
            // kept, at the other node each time.
            let slow = Follower(ports, pauses: [(300, 10_000, false), (5000, 0, false)])
            let returning = [150, 900, 1400, 4000].map {
                Follower(ports, pauses: [(60, $0, true), (200, $0 / 2, true)])
            }
            try eventually("all follow") {
                steady.allSatisfy { $0.following.last != nil } ? true : nil
            }
            let writers = (1...2).map { writer in
                WriterThread {
                    let connection = try database.connect()
                    for _ in 1...200 {
                        try connection.runScript(
                            "test",
                            """
                            INSERT INTO tasks (title, message) SELECT 'of \(writer)', repeat('x', 1500)
                            FROM generate_series(1, 25)
                            """)
                        usleep(60_000)
                    }
                }
            }
            let isOver = Flag()
            let reader = WriterThread { try Self.readWhatIsKept(database, until: isOver) }
            for writer in writers { try writer.join() }
            let head: Int64 = 10_000
            let followers = steady + [slow] + returning
            for follower in followers {
                try eventually("everybody is at the head", within: 60) {
                    follower.following.last?.position == head ? true : nil
                }
            }
            for follower in followers {
                try follower.stop()
                let following = follower.following
                #expect(following.faults == [])
                #expect(Int64(following.events.count) + following.missed == head)
                #expect(Set(following.events).count == following.events.count)
            }
            isOver.raise()
            try reader.join()
            #expect(slow.following.resets > 0)
            #expect(returning[3].following.resets > 0)

            try eventually("what is kept has no hole, and the rest is gone") {
                try database.value(
                    """
                    SELECT min(position) > 5000 AND min(position) <= (SELECT floor FROM event_service.status())
                        AND count(*) = max(position) - min(position) + 1 FROM event_service.log
                    """) == "t" ? true : nil
            }
            for word in ["not done", "not answered"] {
                #expect(!nodes.contains { $0.log.contains(word) })
            }
        }
    }
    /// Reads the oldest page over and over: it begins at the floor and has no hole, or says that it expired.
    private static func readWhatIsKept(_ database: TestDatabase, until isOver: Flag) throws {
        let connection = try database.connect()
        var floors: Set<String> = []
        while !isOver.isRaised {
            let page: [[String?]]
            do throws(DatabaseError) {
                page = try connection.run(
                    "test",
                    """
                    SELECT min(floor), min(position) = min(floor) AND count(*) = max(position) - min(position) + 1
                        AND count(*) = least(200, min(head) - min(floor) + 1) OR min(floor) = min(head) + 1
                    FROM event_service.replay(0, 200)
                    """)
            } catch {
                // The floor rose over the page.
                guard error.sqlState == "40001" else { throw error }
                continue
            }
            #expect(page[0][1] == "t", "the page at floor \(page[0][0] ?? "")")
            floors.insert(page[0][0] ?? "")
            usleep(5000)
        }
        #expect(floors.count > 5)
    }
}
