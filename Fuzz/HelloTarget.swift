import TLS

/// The first bytes of a connection.
enum HelloTarget {
    static func run(_ input: Input) {
        guard let base = input.baseAddress else { return }
        _ = FirstBytes.look(at: base, input.count)
    }
}
