import Glibc

extension HeadParser {
    private struct LineUse {
        var dropped = false
        var isFraming = false
    }

    mutating func headerLines(_ bytes: UnsafePointer<UInt8>, _ count: Int, isRequest: Bool) -> HeadOutcome {
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
            var use = LineUse()
            let fault = recognize(line, name, start..<end, at: place, isRequest, &use, &hosts)
            if let fault { return .refused(fault) }
            if name >= 14 && !use.isFraming && looksLikeFraming(line, name) {
                return .refused(.ambiguousName)
            }
            lines[head.lineCount] = HeaderLine(
                offset: UInt16(truncatingIfNeeded: place), length: UInt16(truncatingIfNeeded: length),
                nameLength: UInt16(truncatingIfNeeded: name), valueOffset: UInt16(truncatingIfNeeded: place &+ start),
                valueLength: UInt16(truncatingIfNeeded: end &- start), dropped: use.dropped)
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
                        && strncasecmp(cText(bytes + head.hostOffset), cText(bytes + absoluteHost.0), absoluteHost.1)
                            == 0)
                if !agrees { return .refused(.hostMismatch) }
                head.hostOffset = absoluteHost.0
                head.hostLength = absoluteHost.1
            }
        }
        if head.connectionNamesOthers, let fault = dropNamedLines(bytes) { return .refused(fault) }
        return .complete
    }

    /// Notes what a line says that matters here. Few names do; their lengths tell them apart.
    @inline(__always)
    private mutating func recognize(
        _ line: UnsafePointer<UInt8>, _ name: Int, _ value: Range<Int>, at place: Int, _ isRequest: Bool,
        _ use: inout LineUse, _ hosts: inout Int
    ) -> HeadFault? {
        let start = value.lowerBound
        let end = value.upperBound
        switch name {
        case 2 where isRequest:
            if equals(line, 2, "te") {
                use.dropped = !hasToken(line + start, value.count, "trailers")
            } else if equals(line, 2, "b3") {
                head.b3Line = head.lineCount
            }
        case 4 where isRequest && equals(line, 4, "host"):
            hosts &+= 1
            head.hostOffset = place &+ start
            head.hostLength = value.count
        case 6 where isRequest && equals(line, 6, "expect"):
            if hasToken(line + start, value.count, "100-continue") { head.expectsContinue = true }
        case 10:
            if equals(line, 10, "connection") {
                use.dropped = true
                connectionTokens(line + start, value.count)
            } else if equals(line, 10, "keep-alive") {
                use.dropped = true
            } else if isRequest && equals(line, 10, "tracestate") {
                head.traceStateLine = head.lineCount
            }
        case 11 where isRequest:
            if equals(line, 11, "x-weft-peer") {
                if head.peerLine >= 0 { return .badHeaderValue }
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
                if head.grpcTimeoutLine < 0 { head.grpcTimeoutLine = head.lineCount } else { use.dropped = true }
            }
        case 11:
            if equals(line, 11, "retry-after") {
                head.retryAfterLine = head.lineCount
            } else if equals(line, 11, "grpc-status") {
                head.grpcStatusLine = head.lineCount
            }
        case 14 where isRequest && equals(line, 14, "x-weft-attempt"):
            // Of these that are repeated the first counts.
            if head.attemptLine < 0 { head.attemptLine = head.lineCount } else { use.dropped = true }
        case 18 where isRequest && equals(line, 18, "x-request-deadline"):
            if head.deadlineLine < 0 { head.deadlineLine = head.lineCount } else { use.dropped = true }
        case 18 where isRequest && equals(line, 18, "x-weft-retry-depth"):
            if head.retryDepthLine < 0 { head.retryDepthLine = head.lineCount } else { use.dropped = true }
        case 13 where !isRequest && equals(line, 13, "x-weft-reason"): head.reasonLine = head.lineCount
        case 14 where equals(line, 14, "content-length"):
            if head.contentLength >= 0 { return .repeatedContentLength }
            use.isFraming = true
            var length = 0
            if start == end { return .badContentLength }
            var digit = start
            while digit < end {
                let number = Int(line[digit]) &- 48
                if number < 0 || number > 9 || length > 1 << 55 { return .badContentLength }
                length = length &* 10 &+ number
                digit &+= 1
            }
            head.contentLength = length
        case 15 where isRequest && equals(line, 15, "x-forwarded-for"): head.forwardedForLine = head.lineCount
        case 16 where equals(line, 16, "proxy-connection"): use.dropped = true
        case 17:
            if equals(line, 17, "transfer-encoding") {
                use.isFraming = true
                if head.isChunked || head.hasOtherCoding { return .repeatedTransferEncoding }
                head.isChunked = equals(line + start, value.count, "chunked")
                if !head.isChunked {
                    if start == end || mentions(line + start, value.count, "chunked") {
                        return .badTransferEncoding
                    }
                    // Said at the end, since another fault may make it no coding at all.
                    head.hasOtherCoding = true
                }
            } else if isRequest && equals(line, 17, "x-forwarded-proto") {
                head.forwardedProtoLine = head.lineCount
            }
        case 23 where isRequest && equals(line, 23, "x-forwarded-client-cert"):
            head.clientCertificateLine = head.lineCount
            use.dropped = true
        default: break
        }
        return nil
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
    @inline(__always)
    private func looksLikeFraming(_ name: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        let initial = name[0] | 32
        if initial != 99 && initial != 116 { return false }
        return squeezed(name, count, "contentlength") || squeezed(name, count, "transferencoding")
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
}
