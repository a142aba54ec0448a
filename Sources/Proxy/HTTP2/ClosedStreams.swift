/// The last streams of a client's session that have closed, and whether more of them may still come.
///
/// A stream we have reset may have frames on their way, which mean nothing. A client that has ended or reset a stream itself sends no more
/// of it: what comes is of a client that has lost count, or of an attacker who tries where we have (RFC 9113 §5.1).
struct ClosedStreams {
    /// More than there can be open at once.
    private static let kept = 128

    /// Numbers, of which bit 31 says that the client may not know yet.
    private var numbers: InlineArray<128, UInt32> = .init(repeating: 0)
    private var count = 0

    enum Verdict { case onItsWay, ended, never, forgotten }

    /// - Parameter isOurs: we closed it before the client had ended it.
    mutating func note(_ id: UInt32, isOurs: Bool) {
        numbers[count % Self.kept] = isOurs ? id | 0x8000_0000 : id
        count &+= 1
    }

    /// What a frame for a stream means that is not open, but not above the highest either.
    func verdict(_ id: UInt32) -> Verdict {
        for place in 0..<min(count, Self.kept) where numbers[place] & 0x7FFF_FFFF == id {
            return numbers[place] == id ? .ended : .onItsWay
        }
        return count <= Self.kept ? .never : .forgotten
    }
}
