import Loop
import ProxyResources

/// What the numbers in series and records mean, as it was at one moment.
struct LabelPages: Sendable {
    var peers: [PeerLabels] = [.unknown]
    var services = ["unknown"]
    var names = [""]
    var own = PeerLabels()
    var pod = ""
    var node = ""

    init() {}

    init(_ book: LabelBook, workload: Workload?) {
        (peers, services) = book.contents()
        names = book.names()
        func known(_ text: String?) -> String { text.flatMap { $0.isEmpty ? nil : $0 } ?? "unknown" }
        own = PeerLabels(
            workload: known(workload?.name), namespace: known(workload?.namespace),
            principal: known(workload?.principal), app: known(workload?.app), version: known(workload?.version))
        pod = workload?.pod ?? ""
        node = workload?.node ?? ""
    }

    func peer(_ number: UInt32) -> PeerLabels { Int(number) < peers.count ? peers[Int(number)] : .unknown }
    func service(_ number: UInt32) -> String { Int(number) < services.count ? services[Int(number)] : "unknown" }
    func name(_ number: UInt32) -> String { Int(number) < names.count ? names[Int(number)] : "" }
}

extension RequestRecord {
    /// A part of the record's text; bytes that are not UTF-8 are replaced.
    func string(_ piece: TextPiece) -> String {
        var copy = text
        let start = Int(piece.offset)
        let count = min(Int(piece.count), Self.textSize - start)
        return withUnsafeBytes(of: &copy) { String(decoding: $0[start..<start + max(0, count)], as: UTF8.self) }
    }

    /// `HTTP/1.1`, `HTTP/2`, or empty for an opaque connection.
    var protocolText: String {
        if kind == .tcp { return "" }
        return majorVersion == 2 ? "HTTP/2" : "HTTP/1.\(minorVersion)"
    }

    var duration: UInt64 { ended &- started }
    var traceText: String {
        traceHigh | traceLow == 0 ? "" : Hex.text(traceHigh) + Hex.text(traceLow)
    }
    /// The endpoint that answered, or was tried last.
    var lastAttempt: AttemptRecord? {
        attemptCount == 0 ? nil : attempts[min(Int(attemptCount), Self.mostAttempts) - 1]
    }
}

/// `10.0.0.1`, from host order.
func dotted(_ address: UInt32) -> String {
    "\(address >> 24).\(address >> 16 & 255).\(address >> 8 & 255).\(address & 255)"
}

/// What the loops' clock reads beside the wall's: wall = loop's + `offset`, in nanoseconds since 1970.
struct WallClock: Sendable {
    let offset: UInt64

    init(offset: UInt64) { self.offset = offset }

    /// As it is now.
    static func read() -> WallClock {
        WallClock(offset: nanosecondsSince1970() &- Clock.monotonic)
    }

    func at(_ moment: UInt64) -> UInt64 { moment &+ offset }
}
