import Glibc

package typealias Bytes = UnsafeMutablePointer<UInt8>

/// Reads the heads of HTTP/1 messages in place: no copy, no allocation.
///
/// Strict where leniency lets two hops disagree on where a message ends (RFC 9112 §11.2): a head is refused for a bare LF, a folded line,
/// a space before the colon, control characters, two lengths, a length beside chunked, or a coding other than exactly `chunked`.
package struct HeadParser: ~Copyable {
    package static let longestTarget = 8192
    package static let mostLines = 128
    /// Offsets are 16 bits wide.
    package static let longestHead = 61440

    package var head = MessageHead()
    package let lines: UnsafeMutablePointer<HeaderLine>
    /// RFC 9110 §5.6.2 `tchar`. Every scan by this table ends at the line's LF, which is none.
    private let isToken: UnsafeMutablePointer<Bool>

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
            if count > Self.longestTarget + 32 { return .refused(.targetTooLong) }
            return .incomplete
        }
        reset(lineLength)
        if lineLength < 2 || bytes[lineLength &- 2] != 13 { return .refused(.bareLineFeed) }
        if let fault = requestLine(bytes, lineLength) { return .refused(fault) }
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
        let outcome = headerLines(bytes, count, isRequest: false)
        if outcome != .complete { return outcome }
        if head.isChunked && head.contentLength >= 0 { return .refused(.lengthAndChunked) }
        return .complete
    }

    private func lineEnd(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int? {
        guard let found = memchr(bytes, 10, count) else { return nil }
        return UnsafeRawPointer(bytes).distance(to: UnsafeRawPointer(found)) &+ 1
    }

    private mutating func reset(_ startLineLength: Int) {
        head = MessageHead()
        head.startLineLength = startLineLength
    }

    @inline(__always)
    private func isVersion(_ at: UnsafePointer<UInt8>) -> Bool {
        at[0] == 72 && at[1] == 84 && at[2] == 84 && at[3] == 80 && at[4] == 47 && at[5] == 49 && at[6] == 46
    }

    private mutating func requestLine(_ bytes: UnsafePointer<UInt8>, _ lineLength: Int) -> HeadFault? {
        var place = 0
        while isToken[Int(bytes[place])] { place &+= 1 }
        if place == 0 || bytes[place] != 32 { return .badStartLine }
        head.methodLength = place
        head.isHead = place == 4 && bytes[0] == 72 && bytes[1] == 69 && bytes[2] == 65 && bytes[3] == 68
        head.isConnect = place == 7 && equals(bytes, 7, "connect") && bytes[0] == 67
        head.isIdempotent =
            switch place {
            case 3: memcmp(bytes, "GET", 3) == 0 || memcmp(bytes, "PUT", 3) == 0
            case 4: head.isHead
            case 5: memcmp(bytes, "TRACE", 5) == 0
            case 6: memcmp(bytes, "DELETE", 6) == 0
            case 7: memcmp(bytes, "OPTIONS", 7) == 0
            default: false
            }
        let target = place &+ 1
        // The line ends in " HTTP/1.x\r\n", 11 bytes.
        let version = lineLength &- 10
        if version &- 1 <= target { return .badStartLine }
        if bytes[version &- 1] != 32 { return .badStartLine }
        if !isVersion(bytes + version) {
            let at = bytes + version
            let looksLikeHTTP = at[0] == 72 && at[1] == 84 && at[2] == 84 && at[3] == 80 && at[4] == 47
            return looksLikeHTTP ? .badVersion : .badStartLine
        }
        let minor = Int(bytes[version &+ 7]) &- 48
        if minor < 0 || minor > 9 { return .badVersion }
        head.minorVersion = min(minor, 1)
        let length = version &- 1 &- target
        if length > Self.longestTarget { return .targetTooLong }
        var scan = target
        let end = target &+ length
        while scan < end {
            let byte = bytes[scan]
            if byte <= 32 || byte >= 127 { return .badTarget }
            scan &+= 1
        }
        head.targetOffset = target
        head.targetLength = length
        head.pathOffset = target
        head.pathLength = length
        if bytes[target] != 47 { return otherTargetForm(bytes, target, length) }
        return nil
    }

    /// RFC 9112 §3.2: `*` for OPTIONS, authority for CONNECT, or absolute.
    private mutating func otherTargetForm(_ bytes: UnsafePointer<UInt8>, _ target: Int, _ length: Int) -> HeadFault? {
        if head.isConnect { return nil }
        if length == 1 && bytes[target] == 42 {
            return head.methodLength == 7 && equals(bytes, 7, "options") ? nil : .badTarget
        }
        guard length > 7, equals(bytes + target, 7, "http://") else { return .badTarget }
        var path = target &+ 7
        let end = target &+ length
        while path < end, bytes[path] != 47, bytes[path] != 63 { path &+= 1 }
        head.hostOffset = target &+ 7
        head.hostLength = path &- head.hostOffset
        if head.hostLength == 0 || (path < end && bytes[path] == 63) { return .badTarget }
        head.pathOffset = path
        head.pathLength = end &- path
        return nil
    }

    private mutating func headerLines(_ bytes: UnsafePointer<UInt8>, _ count: Int, isRequest: Bool) -> HeadOutcome {
        let absoluteHost = (head.hostOffset, head.hostLength)
        head.hostLength = 0
        var hosts = 0
        var place = head.startLineLength
        while true {
            if place >= count { return count >= Self.longestHead ? .refused(.headTooLong) : .incomplete }
            let line = bytes + place
            if line[0] == 13 {
                if place &+ 1 >= count { return .incomplete }
                if line[1] != 10 { return .refused(.badHeaderName) }
                head.length = place &+ 2
                if head.length > Self.longestHead { return .refused(.headTooLong) }
                break
            }
            guard let length = lineEnd(line, count &- place) else {
                return count >= Self.longestHead ? .refused(.headTooLong) : .incomplete
            }
            if place &+ length > Self.longestHead { return .refused(.headTooLong) }
            var name = 0
            while isToken[Int(line[name])] { name &+= 1 }
            if name == 0 {
                if line[0] == 32 || line[0] == 9 { return .refused(.foldedHeader) }
                return .refused(line[0] == 10 ? .bareLineFeed : .badHeaderName)
            }
            if line[name] != 58 { return .refused(.badHeaderName) }
            if line[length &- 2] != 13 { return .refused(.bareLineFeed) }
            if head.lineCount >= Self.mostLines { return .refused(.tooManyHeaders) }
            var start = name &+ 1
            var end = length &- 2
            while start < end, line[start] == 32 || line[start] == 9 { start &+= 1 }
            while end > start, line[end &- 1] == 32 || line[end &- 1] == 9 { end &-= 1 }
            var refused = false
            var scan = start
            while scan < end {
                let byte = line[scan]
                refused = refused || (byte < 32 && byte != 9) || byte == 127
                scan &+= 1
            }
            if refused { return .refused(.badHeaderValue) }
            var dropped = false
            // Few names matter here; their lengths tell them apart.
            switch name {
            case 2 where isRequest:
                if equals(line, 2, "te") {
                    dropped = !hasToken(line + start, end &- start, "trailers")
                } else if equals(line, 2, "b3") {
                    head.b3Line = head.lineCount
                }
            case 4 where isRequest && equals(line, 4, "host"):
                hosts &+= 1
                head.hostOffset = place &+ start
                head.hostLength = end &- start
            case 6 where isRequest && equals(line, 6, "expect"):
                if hasToken(line + start, end &- start, "100-continue") { head.expectsContinue = true }
            case 10:
                if equals(line, 10, "connection") {
                    dropped = true
                    connectionTokens(line + start, end &- start)
                } else if equals(line, 10, "keep-alive") {
                    dropped = true
                } else if isRequest && equals(line, 10, "tracestate") {
                    head.traceStateLine = head.lineCount
                }
            case 11 where isRequest:
                if equals(line, 11, "x-weft-peer") {
                    if head.peerLine >= 0 { return .refused(.badHeaderValue) }
                    head.peerLine = head.lineCount
                } else if equals(line, 11, "traceparent") {
                    // Two of them say nothing sure (W3C Trace Context §3.2.1).
                    head.traceParentLine = head.traceParentLine == -1 ? head.lineCount : -2
                }
            case 12:
                if isRequest && equals(line, 12, "x-request-id") {
                    head.requestIDLine = head.lineCount
                } else if equals(line, 12, "content-type") {
                    head.contentTypeLine = head.lineCount
                } else if isRequest && equals(line, 12, "x-b3-traceid") {
                    head.b3Line = head.lineCount
                } else if isRequest && equals(line, 12, "grpc-timeout") {
                    if head.grpcTimeoutLine < 0 { head.grpcTimeoutLine = head.lineCount } else { dropped = true }
                }
            case 11:
                if equals(line, 11, "retry-after") {
                    head.retryAfterLine = head.lineCount
                } else if equals(line, 11, "grpc-status") {
                    head.grpcStatusLine = head.lineCount
                }
            case 14 where isRequest && equals(line, 14, "x-weft-attempt"):
                // Of these that are repeated the first counts.
                if head.attemptLine < 0 { head.attemptLine = head.lineCount } else { dropped = true }
            case 18 where isRequest && equals(line, 18, "x-request-deadline"):
                if head.deadlineLine < 0 { head.deadlineLine = head.lineCount } else { dropped = true }
            case 18 where isRequest && equals(line, 18, "x-weft-retry-depth"):
                if head.retryDepthLine < 0 { head.retryDepthLine = head.lineCount } else { dropped = true }
            case 13 where !isRequest && equals(line, 13, "x-weft-reason"): head.reasonLine = head.lineCount
            case 14 where equals(line, 14, "content-length"):
                if head.contentLength >= 0 { return .refused(.repeatedContentLength) }
                var value = 0
                if start == end { return .refused(.badContentLength) }
                var digit = start
                while digit < end {
                    let number = Int(line[digit]) &- 48
                    if number < 0 || number > 9 || value > 1 << 55 { return .refused(.badContentLength) }
                    value = value &* 10 &+ number
                    digit &+= 1
                }
                head.contentLength = value
            case 15 where isRequest && equals(line, 15, "x-forwarded-for"): head.forwardedForLine = head.lineCount
            case 16 where equals(line, 16, "proxy-connection"): dropped = true
            case 17:
                if equals(line, 17, "transfer-encoding") {
                    if head.isChunked { return .refused(.badTransferEncoding) }
                    if !equals(line + start, end &- start, "chunked") {
                        let known = hasToken(line + start, end &- start, "chunked")
                        return .refused(known ? .badTransferEncoding : .unknownTransferEncoding)
                    }
                    head.isChunked = true
                } else if isRequest && equals(line, 17, "x-forwarded-proto") {
                    head.forwardedProtoLine = head.lineCount
                }
            case 23 where isRequest && equals(line, 23, "x-forwarded-client-cert"):
                head.clientCertificateLine = head.lineCount
                dropped = true
            default: break
            }
            lines[head.lineCount] = HeaderLine(
                offset: UInt16(truncatingIfNeeded: place), length: UInt16(truncatingIfNeeded: length),
                nameLength: UInt16(truncatingIfNeeded: name), valueOffset: UInt16(truncatingIfNeeded: place &+ start),
                valueLength: UInt16(truncatingIfNeeded: end &- start), dropped: dropped)
            head.lineCount &+= 1
            place &+= length
        }
        if isRequest {
            if hosts > 1 || (hosts == 0 && head.minorVersion == 1) { return .refused(.badHost) }
            if absoluteHost.1 > 0 {
                let agrees =
                    hosts == 0
                    || (head.hostLength == absoluteHost.1
                        && strncasecmp(text(bytes + head.hostOffset), text(bytes + absoluteHost.0), absoluteHost.1) == 0)
                if !agrees { return .refused(.badHost) }
                head.hostOffset = absoluteHost.0
                head.hostLength = absoluteHost.1
            }
        }
        if head.connectionNamesOthers, let fault = dropNamedLines(bytes) { return .refused(fault) }
        return .complete
    }

    private func text(_ bytes: UnsafePointer<UInt8>) -> UnsafePointer<CChar> {
        UnsafeRawPointer(bytes).assumingMemoryBound(to: CChar.self)
    }

    private func requestRules(_ bytes: UnsafePointer<UInt8>) -> HeadFault? {
        if head.isChunked {
            if head.contentLength >= 0 { return .lengthAndChunked }
            if head.minorVersion == 0 { return .badTransferEncoding }
        }
        var scan = head.hostOffset
        let end = scan &+ head.hostLength
        while scan < end {
            let byte = bytes[scan]
            if byte <= 32 || byte == 47 || byte == 64 || byte == 63 || byte == 35 || byte == 44 || byte >= 127 {
                return .badHost
            }
            scan &+= 1
        }
        return nil
    }

    private mutating func connectionTokens(_ value: UnsafePointer<UInt8>, _ count: Int) {
        forEachToken(value, count) { token, length in
            switch length {
            case 5 where equals(token, 5, "close"): head.saysClose = true
            case 10 where equals(token, 10, "keep-alive"): head.saysKeepAlive = true
            case 7 where equals(token, 7, "upgrade"): head.saysUpgrade = true
            case 2 where equals(token, 2, "te"): break
            default: head.connectionNamesOthers = true
            }
        }
    }

    /// Drops the lines a Connection header names. Naming a line that frames the message or says where it goes is an attack.
    private mutating func dropNamedLines(_ bytes: UnsafePointer<UInt8>) -> HeadFault? {
        var fault: HeadFault? = nil
        for index in 0..<head.lineCount {
            let line = lines[index]
            guard line.nameLength == 10, equals(bytes + Int(line.offset), 10, "connection") else { continue }
            forEachToken(bytes + Int(line.valueOffset), Int(line.valueLength)) { token, length in
                if equals(token, length, "host") || equals(token, length, "content-length")
                    || equals(token, length, "transfer-encoding") || equals(token, length, "x-weft-peer")
                {
                    fault = .badConnection
                    return
                }
                if equals(token, length, "upgrade") || equals(token, length, "te") { return }
                for other in 0..<head.lineCount where Int(lines[other].nameLength) == length {
                    if strncasecmp(text(bytes + Int(lines[other].offset)), text(token), length) == 0 {
                        lines[other].dropped = true
                    }
                }
            }
        }
        return fault
    }
}

/// Calls `body` with each element of a comma-separated list, without the space around it.
@inline(__always)
private func forEachToken(_ value: UnsafePointer<UInt8>, _ count: Int, _ body: (UnsafePointer<UInt8>, Int) -> Void) {
    var place = 0
    while place < count {
        while place < count, value[place] == 32 || value[place] == 44 || value[place] == 9 { place &+= 1 }
        let start = place
        while place < count, value[place] != 44 { place &+= 1 }
        var end = place
        while end > start, value[end &- 1] == 32 || value[end &- 1] == 9 { end &-= 1 }
        if end > start { body(value + start, end &- start) }
    }
}

@inline(__always)
private func hasToken(_ value: UnsafePointer<UInt8>, _ count: Int, _ word: StaticString) -> Bool {
    var found = false
    forEachToken(value, count) { token, length in if equals(token, length, word) { found = true } }
    return found
}

/// Compares ASCII without regard to case; `word` is lower case.
@inline(__always)
private func equals(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ word: StaticString) -> Bool {
    if count != word.utf8CodeUnitCount { return false }
    let wanted = word.utf8Start
    var place = 0
    while place < count {
        let byte = bytes[place]
        let lower = (byte &- 65) < 26 ? byte | 0x20 : byte
        if lower != wanted[place] { return false }
        place &+= 1
    }
    return true
}
