import Glibc

extension HeadParser {
    @inline(__always)
    func isVersion(_ at: UnsafePointer<UInt8>) -> Bool {
        at[0] == 72 && at[1] == 84 && at[2] == 84 && at[3] == 80 && at[4] == 47 && at[5] == 49 && at[6] == 46
    }

    mutating func requestLine(_ bytes: UnsafePointer<UInt8>, _ lineLength: Int) -> HeadFault? {
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
    mutating func otherTargetForm(_ bytes: UnsafePointer<UInt8>, _ target: Int, _ length: Int) -> HeadFault? {
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

    /// RFC 3986 §3.2: a name, an IPv4 address or an IPv6 address in brackets, and maybe a port; no user, and no list of several.
    func isHost(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
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

    func isHexadecimal(_ byte: UInt8) -> Bool { byte &- 48 < 10 || (byte | 32) &- 97 < 6 }
}
