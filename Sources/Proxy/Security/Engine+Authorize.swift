import Wire

extension Engine {
    /// Whether the sender of the request whose head was just parsed at `bytes` may have it answered.
    mutating func authorize(_ client: Conn, _ bytes: UnsafePointer<UInt8>) -> Step { .go }
}
