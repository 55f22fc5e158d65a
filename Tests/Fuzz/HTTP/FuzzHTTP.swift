import EventCore

// Whatever comes on a connection, cut wherever: the parser neither traps nor reads it differently.

private let limits = HTTPRequestParser.Limits(headBytes: 1024, bodyBytes: 2048)

private struct Reading: Equatable {
    var requests: [HTTPRequest] = []
    var error: HTTPParseError?
}

private func read(_ pieces: [ArraySlice<UInt8>]) -> Reading {
    var parser = HTTPRequestParser(limits: limits)
    var reading = Reading()
    for piece in pieces {
        parser.append(piece)
        do throws(HTTPParseError) {
            while let request = try parser.next() { reading.requests.append(request) }
        } catch {
            reading.error = error
            break
        }
    }
    return reading
}

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHTTP(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = unsafe [UInt8](UnsafeBufferPointer(start: start, count: count))
    // The first byte says where the input is cut.
    guard let first = bytes.first else { return 0 }
    let input = bytes.dropFirst()
    let cut = input.startIndex + input.count * Int(first) / 256
    let whole = read([input])
    precondition(whole == read([input[..<cut], input[cut...]]))
    for request in whole.requests {
        precondition(request.body.count <= limits.bodyBytes)
        if let query = QueryString(request.query) {
            _ = try? StreamParameters(request, query: query)
            _ = try? HistoryParameters(query: query)
        }
        _ = Route(path: request.path)
        _ = ContentNegotiation.accepts("text/event-stream", request)
    }
    return 0
}
