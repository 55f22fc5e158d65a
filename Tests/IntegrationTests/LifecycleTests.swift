import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct Lifecycle {
    @Test(.timeLimit(.minutes(2)))
    func `without PostgreSQL the service starts, says why it is not ready, and recovers`()
        async throws
    {
        try await onOwnThread {
            let cluster = try TestCluster()
            _ = try ToolRun(["migrate", "--database-url", cluster.url])
            try cluster.stop()
            let service = try ServiceProcess(
                database: cluster.url, ["--heartbeat", "300ms"], waitUntilReady: false)
            let ready = try HTTPClient.get(service.port, "/readyz")
            #expect(ready.status == 503)
            #expect(ready.json["reasons"] as? [String] == ["database"])
            #expect(try HTTPClient.get(service.port, "/livez").status == 200)
            let refused = try HTTPClient.get(service.port, "/api/v1/events/stream")
            #expect(refused.status == 503)
            #expect(refused.fields["retry-after"] != nil)
            try cluster.start()
            try eventually("ready") {
                try HTTPClient.get(service.port, "/readyz").status == 200 ? true : nil
            }

            // Gone again under open streams: they stay, are told, and get what comes afterwards.
            let stream = try StreamClient(service.port)
            _ = try stream.next("stream.live")
            try cluster.stop("immediate")
            let away = try stream.next("stream.health")
            #expect(away.json["ready"] as? Bool == false)
            #expect(away.json["reasons"] as? [String] == ["database"])
            let before = stream.heartbeats
            try eventually("heartbeats go on") {
                stream.readMore()
                return stream.heartbeats > before + 2 ? true : nil
            }
            let fromMemory = try StreamClient(service.port, lastEventID: away.lastEventID)
            #expect(fromMemory.answer.status == 200, "a cursor within the ring needs no database")
            #expect(try fromMemory.next("stream.health").json["ready"] as? Bool == false)
            let publish = try HTTPClient.publish(
                service.port, #"{"type":"a.b","audience":["*"],"data":1}"#)
            #expect(publish.status == 503)
            try cluster.start()
            #expect(try stream.next("stream.health").json["ready"] as? Bool == true)
            try BlockingConnection(url: cluster.url).runScript(
                "test", "INSERT INTO tasks (title) VALUES ('back')")
            #expect(try stream.events(1)[0].type == "task.created")
            #expect(try fromMemory.events(1)[0].type == "task.created")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `without its migrations the service says so, and goes on once they are there`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase(migrated: false)
            let service = try ServiceProcess(database: database.url, waitUntilReady: false)
            try eventually("it has looked") {
                try HTTPClient.get(service.port, "/readyz").json["reasons"] as? [String] == [
                    "migrations"
                ] ? true : nil
            }
            #expect(service.log.contains("event-service migrate"))
            try database.migrate()
            try eventually("ready") {
                try HTTPClient.get(service.port, "/readyz").status == 200 ? true : nil
            }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `SIGTERM ends streams one by one, answers meanwhile, and exits with 0`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url, ["--drain", "2s"])
            let streams = try (0..<20).map { _ in try StreamClient(service.port) }
            for stream in streams { _ = try stream.next("stream.live") }
            let began = Date()
            service.signal(SIGTERM)
            try eventually("readyz says draining") {
                try HTTPClient.get(service.port, "/readyz").json["reasons"] as? [String] == [
                    "draining"
                ] ? true : nil
            }
            let refused = try HTTPClient.get(service.port, "/api/v1/events/stream")
            #expect(refused.status == 503)
            #expect(refused.fields["retry-after"] != nil)
            var ends: [Double] = []
            for stream in streams {
                #expect(
                    try stream.next("stream.health").json["reasons"] as? [String] == ["draining"])
                let end = try stream.next("stream.end")
                #expect(end.json["reason"] as? String == "shutdown")
                ends.append(Date().timeIntervalSince(began))
            }
            #expect(service.terminate() == 0)
            #expect(Date().timeIntervalSince(began) < 10)
            #expect((ends.max() ?? 0) > 0.3, "spread, not all at once")
            #expect(Set(streams.map { $0.retryMilliseconds }).count > 1)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `SIGTERM without a stream, and a second SIGTERM, end it at once`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let idle = try ServiceProcess(database: database.url, ["--drain", "60s"])
            #expect(idle.terminate() == 0)
            let busy = try ServiceProcess(database: database.url, ["--drain", "60s"])
            let stream = try StreamClient(busy.port)
            busy.signal(SIGTERM)
            try eventually("it drains") {
                try HTTPClient.get(busy.port, "/readyz").status == 503 ? true : nil
            }
            #expect(busy.terminate() == 0)
            _ = stream
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `idle, the service costs next to nothing`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            _ = try HTTPClient.get(service.port, "/api/v1/events/history?since=earliest")
            try eventually("it is parked") {
                try database.value(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1163284052 AND objid = 1 AND mode = 'ExclusiveLock'"
                ) == "1" ? true : nil
            }
            let before = try service.ticks()
            sleep(5)
            let used = try service.ticks() - before
            #expect(used <= 10, "\(used) hundredths of a second of CPU in 5 s")
            #expect(try service.kilobytes("VmRSS") < 40_000)
            let connections = try database.value(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'event-service'"
            )
            #expect(
                (1...5).contains(Int(connections) ?? 0),
                "one that listens and a pool of at most four")
            let idle = try database.value(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
            )
            #expect(idle == "0")
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `two nodes give the same ids, resume each other's clients, and take over from each other`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let first = try ServiceProcess(database: database.url)
            let second = try ServiceProcess(database: database.url)
            let (one, two) = (try StreamClient(first.port), try StreamClient(second.port))
            try database.run("INSERT INTO tasks (title) SELECT 'x' FROM generate_series(1, 50)")
            let seen = try one.events(50)
            #expect(try two.events(50) == seen)
            let resumed = try StreamClient(second.port, lastEventID: seen[24].lastEventID)
            #expect(try resumed.events(25) == Array(seen[25...]))
            // The node that sequences dies: the other one goes on.
            let pump = first.log.contains("sequences for all nodes") ? first : second
            let follower = pump === first ? second : first
            let rest = pump === first ? two : one
            pump.kill()
            try database.run("INSERT INTO tasks (title) SELECT 'y' FROM generate_series(1, 10)")
            #expect(try rest.events(10).map(\.lastEventID) == Array(try database.ids()[50...]))
            try eventually("it has taken over") {
                follower.log.contains("sequences for all nodes") ? true : nil
            }
            let back = try StreamClient(follower.port, lastEventID: seen[49].lastEventID)
            #expect(try back.events(10).count == 10)
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `retention drops old events, and says so to whoever still wants them`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url, ["--retention", "2s"])
            let stream = try StreamClient(service.port)
            try database.run("INSERT INTO tasks (title) SELECT 'x' FROM generate_series(1, 5)")
            let ids = try stream.events(5).map(\.lastEventID)
            try eventually("they have expired") { try database.ids().isEmpty ? true : nil }
            try eventually("the node knows") {
                let resumed = try StreamClient(service.port, lastEventID: ids[0])
                _ = try resumed.next()
                let message = try resumed.next()
                return message.type == "stream.reset"
                    && message.json["reason"] as? String == "expired" ? true : nil
            }
            #expect(try HTTPClient.get(service.port, "/api/v1/events/\(ids[4])").status == 404)
            let last = try StreamClient(service.port, lastEventID: ids[4])
            #expect(
                try last.next().json["resumed"] as? String == "complete",
                "nothing behind it was dropped")
            try database.run("INSERT INTO tasks (title) VALUES ('y')")
            #expect(try last.events(1).count == 1)
        }
    }
}
