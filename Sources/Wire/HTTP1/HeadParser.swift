import Glibc

package typealias Bytes = UnsafeMutablePointer<UInt8>

/// Reads the heads of HTTP/1 messages in place: no copy, no allocation.
///
/// Strict where leniency lets two hops disagree on where a message ends (RFC 9112 §11.2); `HeadFault` lists what is refused.
package struct HeadParser: ~Copyable {
    package static let longestTarget = 8192
    package static let longestMethod = 64
    package static let mostLines = 128
    /// Offsets are 16 bits wide.
    package static let longestHead = 61440

    /// What requests may have at most; responses may have what `longestHead` and the others say.
    package struct Limits: Sendable {
        package var target = HeadParser.longestTarget
        package var lines = HeadParser.mostLines
        package var head = HeadParser.longestHead

        package init() {}

        package init(target: Int, lines: Int, head: Int) {
            self.target = min(target, HeadParser.longestTarget)
            self.lines = min(lines, HeadParser.mostLines)
            self.head = min(head, HeadParser.longestHead)
        }
    }

    package var requestLimits = Limits()
    package var head = MessageHead()
    package let lines: UnsafeMutablePointer<HeaderLine>
    /// RFC 9110 §5.6.2 `tchar`. Every scan by this table ends at the line's LF, which is none.
    let isToken: UnsafeMutablePointer<Bool>

    package init() {
        lines = .allocate(capacity: Self.mostLines)
        isToken = .allocate(capacity: 256)
        isToken.initialize(repeating: false, count: 256)
        for byte in "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&'*+-.^_`|~".utf8 {
            isToken[Int(byte)] = true
        }
    }

    deinit {
        lines.deallocate()
        isToken.deallocate()
    }

    /// Reads a request's head from `count` bytes at `bytes`, into `head` and `lines`.
    package mutating func request(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> HeadOutcome {
        guard let lineLength = lineEnd(bytes, count) else {
            if count <= requestLimits.target + Self.longestMethod + 12 { return .incomplete }
            return .refused(memchr(bytes, 32, Self.longestMethod + 1) == nil ? .methodTooLong : .targetTooLong)
        }
        reset(lineLength)
        if lineLength < 2 || bytes[lineLength &- 2] != 13 { return .refused(.bareLineFeed) }
        if let fault = requestLine(bytes, lineLength) { return .refused(control(bytes, lineLength &- 2) ?? fault) }
        let outcome = headerLines(bytes, count, isRequest: true)
        if outcome != .complete { return outcome }
        if let fault = requestRules(bytes) { return .refused(fault) }
        return .complete
    }

    /// Reads a response's head.
    package mutating func response(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> HeadOutcome {
        guard let lineLength = lineEnd(bytes, count) else {
            return count > Self.longestTarget ? .refused(.badStartLine) : .incomplete
        }
        reset(lineLength)
        if lineLength < 2 || bytes[lineLength &- 2] != 13 { return .refused(.bareLineFeed) }
        // "HTTP/1.1 200\r\n" at least; a reason phrase may follow after a space.
        if lineLength < 14 || !isVersion(bytes) || bytes[8] != 32 { return .refused(.badStartLine) }
        head.minorVersion = Int(bytes[7]) &- 48
        if head.minorVersion != 0 && head.minorVersion != 1 { return .refused(.badVersion) }
        let hundreds = Int(bytes[9]) &- 48
        let tens = Int(bytes[10]) &- 48
        let ones = Int(bytes[11]) &- 48
        if hundreds < 1 || hundreds > 9 || tens < 0 || tens > 9 || ones < 0 || ones > 9 { return .refused(.badStatus) }
        if bytes[12] != 32 && bytes[12] != 13 { return .refused(.badStatus) }
        head.status = hundreds &* 100 &+ tens &* 10 &+ ones
        var scan = 13
        while scan < lineLength &- 2 {
            if (bytes[scan] < 32 && bytes[scan] != 9) || bytes[scan] == 127 {
                return .refused(control(bytes, lineLength &- 2) ?? .badStatus)
            }
            scan &+= 1
        }
        let outcome = headerLines(bytes, count, isRequest: false)
        if outcome != .complete { return outcome }
        if let fault = framingRules() { return .refused(fault) }
        return .complete
    }

    /// RFC 9112 §6.3: a message has one length, or one coding, which is `chunked`, or neither.
    @inline(__always)
    private func framingRules() -> HeadFault? {
        if !head.isChunked && !head.hasOtherCoding { return nil }
        if head.contentLength >= 0 { return .lengthAndChunked }
        if head.hasOtherCoding { return .unknownTransferEncoding }
        return head.minorVersion == 0 ? .chunkedInOldVersion : nil
    }

    func lineEnd(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int? {
        guard let found = memchr(bytes, 10, count) else { return nil }
        return UnsafeRawPointer(bytes).distance(to: UnsafeRawPointer(found)) &+ 1
    }

    private mutating func reset(_ startLineLength: Int) {
        head = MessageHead()
        head.startLineLength = startLineLength
    }

    private func requestRules(_ bytes: UnsafePointer<UInt8>) -> HeadFault? {
        if let fault = framingRules() { return fault }
        if head.hostLength == 0 { return head.minorVersion == 1 ? .emptyHost : nil }
        return isHost(bytes + head.hostOffset, head.hostLength) ? nil : .badHost
    }
}
