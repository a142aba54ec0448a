import Wire

extension Engine {
    /// What the chosen route asks for before the request is sent: `client.choice` is where it goes.
    mutating func admit(_ client: Conn, _ bytes: UnsafePointer<UInt8>) -> Step {
        admitEffort(client, bytes)
    }
}
