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

    /// What a refused line has in it that never belongs into a head.
    private func control(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> HeadFault? {
        if count <= 0 { return nil }
        if memchr(bytes, 0, count) != nil { return .nulInHead }
        return memchr(bytes, 13, count) != nil ? .bareReturn : nil
    }

    /// Whether a value has a control other than the tab (RFC 9110 §5.5). Eight bytes at a time: a third of a head's cost else.
    @inline(__always)
    private func hasControl(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        if count < 8 { return hasControlByte(bytes, count) }
        var place = 0
        while true {
            // The last eight may be seen twice.
            let at = min(place, count &- 8)
            let word = UnsafeRawPointer(bytes + at).loadUnaligned(as: UInt64.self)
            let low = (word &- 0x2020_2020_2020_2020) & ~word
            let delete = word ^ 0x7F7F_7F7F_7F7F_7F7F
            let isDelete = (delete &- 0x0101_0101_0101_0101) & ~delete
            if (low | isDelete) & 0x8080_8080_8080_8080 != 0, hasControlByte(bytes + at, 8) { return true }
            place = at &+ 8
            if place == count { return false }
        }
    }

    private func hasControlByte(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        var place = 0
        while place < count {
            let byte = bytes[place]
            if (byte < 32 && byte != 9) || byte == 127 { return true }
            place &+= 1
        }
        return false
    }

    /// RFC 9112 §6.3: a message has one length, or one coding, which is `chunked`, or neither.
    @inline(__always)
    private func framingRules() -> HeadFault? {
        if !head.isChunked && !head.hasOtherCoding { return nil }
        if head.contentLength >= 0 { return .lengthAndChunked }
        if head.hasOtherCoding { return .unknownTransferEncoding }
        return head.minorVersion == 0 ? .chunkedInOldVersion : nil
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
        if place > Self.longestMethod { return .methodTooLong }
        head.methodLength = place
        head.isHead = place == 4 && bytes[0] == 72 && bytes[1] == 69 && bytes[2] == 65 && bytes[3] == 68
        head.isConnect = place == 7 && equals(bytes, 7, "connect") && bytes[0] == 67
        head.isIdempotent =
            switch place {
            case 3: begins(bytes, "GET") || begins(bytes, "PUT")
            case 4: head.isHead
            case 5: begins(bytes, "TRACE")
            case 6: begins(bytes, "DELETE")
            case 7: begins(bytes, "OPTIONS")
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
        if length > requestLimits.target { return .targetTooLong }
        var scan = target
        let end = target &+ length
        while scan < end {
            let byte = bytes[scan]
            // RFC 9112 §3.2: a target has no fragment, and hops disagree on what it would mean.
            if byte <= 35 && byte != 33 && byte != 34 { return byte == 35 ? .fragmentInTarget : .badTarget }
            if byte >= 127 { return .badTarget }
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
        let scheme =
            if length > 7 && equals(bytes + target, 7, "http://") {
                7
            } else if length > 8 && equals(bytes + target, 8, "https://") {
                8
            } else {
                0
            }
        if scheme == 0 { return .badTarget }
        var path = target &+ scheme
        let end = target &+ length
        while path < end, bytes[path] != 47, bytes[path] != 63 { path &+= 1 }
        head.hostOffset = target &+ scheme
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
        let longest = isRequest ? requestLimits.head : Self.longestHead
        let most = isRequest ? requestLimits.lines : Self.mostLines
        var place = head.startLineLength
        while true {
            if place >= count { return count >= longest ? .refused(.headTooLong) : .incomplete }
            let line = bytes + place
            if line[0] == 13 {
                if place &+ 1 >= count { return .incomplete }
                if line[1] != 10 { return .refused(.badHeaderName) }
                head.length = place &+ 2
                if head.length > longest { return .refused(.headTooLong) }
                break
            }
            guard let length = lineEnd(line, count &- place) else {
                return count >= longest ? .refused(.headTooLong) : .incomplete
            }
            if place &+ length > longest { return .refused(.headTooLong) }
            var name = 0
            while isToken[Int(line[name])] { name &+= 1 }
            if name == 0 || line[name] != 58 { return .refused(badName(line, name, length)) }
            if line[length &- 2] != 13 { return .refused(.bareLineFeed) }
            if head.lineCount >= most { return .refused(.tooManyHeaders) }
            var start = name &+ 1
            var end = length &- 2
            while start < end, line[start] == 32 || line[start] == 9 { start &+= 1 }
            while end > start, line[end &- 1] == 32 || line[end &- 1] == 9 { end &-= 1 }
            if hasControl(line + start, end &- start) {
                return .refused(control(line, length &- 2) ?? .badHeaderValue)
            }
            var dropped = false
            var isFraming = false
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
                isFraming = true
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
                    isFraming = true
                    if head.isChunked || head.hasOtherCoding { return .refused(.repeatedTransferEncoding) }
                    head.isChunked = equals(line + start, end &- start, "chunked")
                    if !head.isChunked {
                        if start == end || mentions(line + start, end &- start, "chunked") {
                            return .refused(.badTransferEncoding)
                        }
                        // Said at the end, since another fault may make it no coding at all.
                        head.hasOtherCoding = true
                    }
                } else if isRequest && equals(line, 17, "x-forwarded-proto") {
                    head.forwardedProtoLine = head.lineCount
                }
            case 23 where isRequest && equals(line, 23, "x-forwarded-client-cert"):
                head.clientCertificateLine = head.lineCount
                dropped = true
            default: break
            }
            if name >= 14 && !isFraming && (line[0] | 32 == 99 || line[0] | 32 == 116) && looksLikeFraming(line, name) {
                return .refused(.ambiguousName)
            }
            lines[head.lineCount] = HeaderLine(
                offset: UInt16(truncatingIfNeeded: place), length: UInt16(truncatingIfNeeded: length),
                nameLength: UInt16(truncatingIfNeeded: name), valueOffset: UInt16(truncatingIfNeeded: place &+ start),
                valueLength: UInt16(truncatingIfNeeded: end &- start), dropped: dropped)
            head.lineCount &+= 1
            place &+= length
        }
        if isRequest {
            if hosts > 1 { return .refused(.repeatedHost) }
            if hosts == 0 && head.minorVersion == 1 { return .refused(.missingHost) }
            if absoluteHost.1 > 0 {
                let agrees =
                    hosts == 0
                    || (head.hostLength == absoluteHost.1
                        && strncasecmp(text(bytes + head.hostOffset), text(bytes + absoluteHost.0), absoluteHost.1) == 0)
                if !agrees { return .refused(.hostMismatch) }
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
        if let fault = framingRules() { return fault }
        if head.hostLength == 0 { return head.minorVersion == 1 ? .emptyHost : nil }
        return isHost(bytes + head.hostOffset, head.hostLength) ? nil : .badHost
    }

    /// RFC 3986 §3.2: a name, an IPv4 address or an IPv6 address in brackets, and maybe a port; no user, and no list of several.
    private func isHost(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        var place = 0
        if bytes[0] == 91 {
            place = 1
            while place < count, isHexadecimal(bytes[place]) || bytes[place] == 58 || bytes[place] == 46 { place &+= 1 }
            if place < 4 || place == count || bytes[place] != 93 { return false }
            place &+= 1
        } else {
            // Of RFC 3986's characters all but the comma are those of a token, or the first three of these.
            while place < count,
                isToken[Int(bytes[place])] || bytes[place] == 40 || bytes[place] == 41
                    || bytes[place] == 59 || bytes[place] == 61
            {
                if bytes[place] == 35 || bytes[place] == 94 || bytes[place] == 96 || bytes[place] == 124 {
                    return false
                }
                place &+= 1
            }
            if place == 0 { return false }
        }
        if place == count { return true }
        if bytes[place] != 58 { return false }
        place &+= 1
        while place < count, bytes[place] &- 48 < 10 { place &+= 1 }
        return place == count
    }

    private func isHexadecimal(_ byte: UInt8) -> Bool { byte &- 48 < 10 || (byte | 32) &- 97 < 6 }

    /// Why a line does not begin with a name and a colon.
    private func badName(_ line: UnsafePointer<UInt8>, _ name: Int, _ length: Int) -> HeadFault {
        if name == 0 {
            switch line[0] {
            case 32, 9: return .foldedHeader
            case 10: return .bareLineFeed
            case 58: return .emptyHeaderName
            default: return control(line, length &- 2) ?? .badHeaderName
            }
        }
        switch line[name] {
        case 32, 9:
            var place = name
            while line[place] == 32 || line[place] == 9 { place &+= 1 }
            return line[place] == 58 ? .spaceBeforeColon : .badHeaderName
        case 10: return .bareLineFeed
        case 13: return line[name &+ 1] == 10 ? .missingColon : .bareReturn
        case 0: return .nulInHead
        default: return .badHeaderName
        }
    }

    /// Another spelling of a name that frames the message, which some gateways take for it: `Transfer_Encoding`, `Content--Length`.
    private func looksLikeFraming(_ name: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        squeezed(name, count, "contentlength") || squeezed(name, count, "transferencoding")
    }

    private func squeezed(_ name: UnsafePointer<UInt8>, _ count: Int, _ word: StaticString) -> Bool {
        let wanted = word.utf8Start
        var matched = 0
        var place = 0
        while place < count {
            let byte = name[place]
            place &+= 1
            if byte == 45 || byte == 95 || byte == 46 { continue }
            if matched == word.utf8CodeUnitCount || byte | 32 != wanted[matched] { return false }
            matched &+= 1
        }
        return matched == word.utf8CodeUnitCount
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

/// Whether an element of the list begins with the word and goes on with no character of a token: `chunked;q=1`, `x, chunked`.
private func mentions(_ value: UnsafePointer<UInt8>, _ count: Int, _ word: StaticString) -> Bool {
    var found = false
    let length = word.utf8CodeUnitCount
    forEachToken(value, count) { token, size in
        if size >= length && equals(token, length, word) {
            found = found || size == length || token[length] == 59 || token[length] == 32 || token[length] == 9
        }
    }
    return found
}

@inline(__always)
private func hasToken(_ value: UnsafePointer<UInt8>, _ count: Int, _ word: StaticString) -> Bool {
    var found = false
    forEachToken(value, count) { token, length in if equals(token, length, word) { found = true } }
    return found
}

@inline(__always)
private func begins(_ bytes: UnsafePointer<UInt8>, _ word: StaticString) -> Bool {
    memcmp(bytes, word.utf8Start, word.utf8CodeUnitCount) == 0
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
