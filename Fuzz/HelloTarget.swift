import Wire

/// The first bytes of a connection: whatever is asked about, and however they arrive.
enum HelloTarget {
    static func run(_ input: Input) {
        guard let first = input.first, let base = input.baseAddress else { return }
        let bytes = base + 1
        let count = input.count - 1
        let kinds = FirstBytes.Kinds(rawValue: first & 15)
        let whole = FirstBytes.look(at: bytes, count, for: kinds)
        let part = FirstBytes.look(at: bytes, count * Int(first >> 4) / 16, for: kinds)
        // What has been told stays so; a request's line may still turn out to be of another protocol.
        if part == .silence || part == .needMore || part == .http1 { return }
        precondition(part == whole, "more bytes have changed what the first ones are")
    }
}
