import EventCore
import FoundationEssentials

/// Answers `POST /api/v1/events`.
struct PublishHandler {
    private let server: ServerContext
    private let exchange: HTTPExchange

    init(_ server: ServerContext, _ exchange: HTTPExchange) {
        self.server = server
        self.exchange = exchange
    }

    func handle(_ principal: Principal) throws(Problem) {
        let request = exchange.request
        let mediaType = request.value(of: "content-type")?.split(separator: ";").first
        guard mediaType?.trimmingBlanks().lowercased() == "application/json" else {
            throw Problem(415, "unsupported-media-type", "The body must be application/json.")
        }
        guard !server.isDraining else {
            throw .unavailable("draining", "The service is about to stop.", retryAfter: 1)
        }
        var items = try PublishBody.read(request.body)
        guard !items.isEmpty else { return respond([]) }
        for index in items.indices where items[index].traceParent == nil {
            items[index].traceParent = request.traceParent
        }
        for (index, item) in items.enumerated() {
            guard
                let label = item.audience.first(where: {
                    !principal.grants.grantsPublishing(to: $0)
                })
            else { continue }
            throw .notGranted(
                "audience-not-granted",
                "item \(index): the token does not grant publishing to \"\(label.text.prefix(128))\"."
            )
        }
        try server.access.publishAsked(
            by: principal.identity, at: exchange.address, events: items.count,
            now: server.stream.loop.now)
        var envelopes: [UInt8] = []
        for (index, item) in items.enumerated() {
            envelopes.append(index == 0 ? "[" : ",")
            item.appendEnvelope(to: &envelopes)
        }
        envelopes.append("]")
        let publish = PublishRequest(
            body: String(decoding: request.body, as: UTF8.self),
            envelopes: String(decoding: envelopes, as: UTF8.self))
        server.client.send(.publish(publish)) { reply in
            switch reply {
            case .published(let ids):
                respond(ids)
            case .refused(let problem):
                exchange.refuse(problem)
            case .located, .page, .event, .access, .unavailable:
                exchange.refuse(
                    .unavailable(
                        "database", "The events were not, or not certainly, published.",
                        retryAfter: 2))
            }
        }
    }

    private func respond(_ ids: [Int64]) {
        var bytes: [UInt8] = []
        bytes.append("{\"events\":[")
        for (index, id) in ids.enumerated() {
            bytes.append(index == 0 ? "{\"event_id\":\"" : ",{\"event_id\":\"")
            bytes.appendDecimal(id)
            bytes.append("\"}")
        }
        bytes.append("]}")
        exchange.respond(.json(bytes, status: 202))
    }
}

/// The body of a request to publish, its envelope decoded.
enum PublishBody {
    /// Reads one item or an array of them; throws a 400 that says which is wrong, and how.
    static func read(_ body: [UInt8]) throws(Problem) -> [PublishItem] {
        let decoded: OneOrMany
        do {
            decoded = try JSONDecoder().decode(OneOrMany.self, from: Data(body))
        } catch let error as DecodingError {
            throw .badRequest(text(of: error))
        } catch {
            throw .badRequest("The body is not JSON.")
        }
        guard decoded.items.count <= PublishItem.maximumCount else {
            throw .badRequest("The body has more than \(PublishItem.maximumCount) items.")
        }
        if let index = itemWithNUL(body) {
            throw .badRequest("item \(index): it holds U+0000, which PostgreSQL cannot keep.")
        }
        var items: [PublishItem] = []
        for (index, item) in decoded.items.enumerated() {
            items.append(
                try PublishItem(
                    index: index, type: item.type, audience: item.audience, key: item.key,
                    deduplicationKey: item.deduplicationKey, traceParent: item.traceParent))
        }
        return items
    }

    private static func itemWithNUL(_ body: [UInt8]) -> Int? {
        guard body.holdsEscapedNUL, let document = try? JSONDocument(body) else { return nil }
        let items =
            document.root.kind == .array ? document.elements(of: document.root) : [document.root]
        return items.firstIndex { document.bytes[$0.range].holdsEscapedNUL }
    }

    private struct OneOrMany: Decodable {
        var items: [Item]

        init(from decoder: any Decoder) throws {
            if var list = try? decoder.unkeyedContainer() {
                items = []
                while !list.isAtEnd { items.append(try list.decode(Item.self)) }
            } else {
                items = [try Item(from: decoder)]
            }
        }
    }

    private struct Item: Decodable {
        var type: String
        var audience: [String]
        var key: String?
        var deduplicationKey: String?
        var traceParent: String?

        init(from decoder: any Decoder) throws {
            let members = try decoder.container(keyedBy: AnyKey.self)
            // A name that is not known is a mistake: a "dedupkey" would let every repeat through.
            if let unknown = members.allKeys.first(where: {
                !PublishItem.members.contains($0.stringValue)
            }) {
                throw DecodingError.dataCorruptedError(
                    forKey: unknown, in: members, debugDescription: "is not a member of an event")
            }
            type = try members.decode(String.self, forKey: AnyKey("type"))
            audience = try members.decode([String].self, forKey: AnyKey("audience"))
            key = try members.decodeIfPresent(String.self, forKey: AnyKey("key"))
            deduplicationKey = try members.decodeIfPresent(String.self, forKey: AnyKey("dedup_key"))
            traceParent = try members.decodeIfPresent(String.self, forKey: AnyKey("traceparent"))
            guard members.contains(AnyKey("data")) else {
                throw DecodingError.keyNotFound(
                    AnyKey("data"),
                    DecodingError.Context(codingPath: decoder.codingPath, debugDescription: ""))
            }
        }
    }

    private struct AnyKey: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(_ text: String) {
            stringValue = text
        }

        init?(stringValue: String) {
            self.stringValue = stringValue
        }

        init?(intValue: Int) {
            nil
        }
    }

    private static func text(of error: DecodingError) -> String {
        func place(_ context: DecodingError.Context, _ last: (any CodingKey)? = nil) -> String {
            let path = context.codingPath + (last.map { [$0] } ?? [])
            let index = path.first?.intValue ?? 0
            let names = path.filter { $0.intValue == nil }.map(\.stringValue)
            return "item \(index): " + (names.isEmpty ? "the item" : names.joined(separator: "."))
        }
        switch error {
        case .keyNotFound(let key, let context):
            return place(context, key) + " is missing."
        case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
            let wanted =
                type == String.self
                ? "a text" : type == [String].self ? "a list of texts" : "an object"
            return place(context) + " is not \(wanted)."
        case .dataCorrupted(let context) where !context.codingPath.isEmpty:
            return place(context) + " \(context.debugDescription)."
        case .dataCorrupted:
            return "The body is not JSON."
        @unknown default:
            return "The body is not what is expected."
        }
    }
}
