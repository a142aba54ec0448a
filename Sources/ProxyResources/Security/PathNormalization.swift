/// What is done to a request's path before policies and routes look at it. The next hop gets the path so made too, so that what was
/// allowed is what is served.
package enum PathNormalization: String, Sendable, Hashable {
    case none = "NONE"
    /// RFC 3986 §6.2.2: `.` and `..` taken out, letters, digits and `-._~` decoded, other escapes in upper case; `\` becomes `/`.
    case base = "BASE"
    /// And `//` becomes `/`.
    case mergeSlashes = "MERGE_SLASHES"
    /// And `%2F` and `%5C` become `/` first.
    case decodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES"
}

package enum NormalizedPath: Sendable, Hashable {
    case same
    /// It is now this many bytes long, never longer than before.
    case changed(Int)
    /// `%00`, an escape that is none, or `#`: no two readers agree on these.
    case refused
}

/// Normalizes a path, without its query, in place.
///
/// An escape that is none (`%zz`) is refused here and not passed on as RFC 3986 would allow.
package func normalize(path: UnsafeMutablePointer<UInt8>, _ count: Int, _ way: PathNormalization) -> NormalizedPath {
    if way == .none || count == 0 || path[0] != 47 { return .same }
    if isNormal(path, count, way) { return .same }
    var length = 0
    var place = 0
    var isChanged = false
    while place < count {
        var byte = path[place]
        place += 1
        switch byte {
        case 35: return .refused
        case 92: (byte, isChanged) = (47, true)
        case 37:
            guard place + 1 < count, let high = hexValue(path[place]), let low = hexValue(path[place + 1]) else {
                return .refused
            }
            let decoded = high << 4 | low
            place += 2
            if decoded == 0 { return .refused }
            let isSlash = decoded == 47 || decoded == 92
            if isUnreserved(decoded) {
                (byte, isChanged) = (decoded, true)
            } else if isSlash && way == .decodeAndMergeSlashes {
                (byte, isChanged) = (47, true)
            } else {
                if path[place - 2] != hexDigit(high) || path[place - 1] != hexDigit(low) { isChanged = true }
                path[length] = 37
                path[length + 1] = hexDigit(high)
                path[length + 2] = hexDigit(low)
                length += 3
                continue
            }
        default: break
        }
        path[length] = byte
        length += 1
    }
    if way != .base { length = mergeSlashes(path, length) }
    length = removeDots(path, length)
    return isChanged || length != count ? .changed(length) : .same
}

/// Most paths are: one look at each byte tells.
private func isNormal(_ path: UnsafeMutablePointer<UInt8>, _ count: Int, _ way: PathNormalization) -> Bool {
    var previous: UInt8 = 0
    for place in 0..<count {
        let byte = path[place]
        if byte == 37 || byte == 92 || byte == 35 { return false }
        if previous == 47 && (byte == 46 || (byte == 47 && way != .base)) { return false }
        previous = byte
    }
    return true
}

private func mergeSlashes(_ path: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int {
    var length = 0
    for place in 0..<count {
        if path[place] == 47, length > 0, path[length - 1] == 47 { continue }
        path[length] = path[place]
        length += 1
    }
    return length
}

/// RFC 3986 §5.2.4 for a path that starts with `/`.
private func removeDots(_ path: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int {
    var length = 0
    var place = 0
    while place < count {
        // At the slash before an element.
        var end = place + 1
        while end < count, path[end] != 47 { end += 1 }
        let size = end - place - 1
        let isDot = size == 1 && path[place + 1] == 46
        let isUp = size == 2 && path[place + 1] == 46 && path[place + 2] == 46
        if isUp {
            while length > 0 {
                length -= 1
                if path[length] == 47 { break }
            }
        } else if !isDot {
            for index in place..<end {
                path[length] = path[index]
                length += 1
            }
        }
        if (isDot || isUp) && end == count {
            path[length] = 47
            length += 1
        }
        place = end
    }
    if length == 0 {
        path[0] = 47
        length = 1
    }
    return length
}

private func isUnreserved(_ byte: UInt8) -> Bool {
    switch byte {
    case 48...57, 65...90, 97...122, 45, 46, 95, 126: true
    default: false
    }
}

private func hexValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 48...57: byte - 48
    case 65...70: byte - 55
    case 97...102: byte - 87
    default: nil
    }
}

private func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? value + 48 : value + 55 }

/// The same for text; `nil` when the path is refused.
package func normalized(path: String, _ way: PathNormalization) -> String? {
    var bytes = Array(path.utf8)
    let outcome = bytes.withUnsafeMutableBufferPointer { space in
        space.baseAddress.map { normalize(path: $0, space.count, way) } ?? .same
    }
    switch outcome {
    case .same: return path
    case .changed(let count): return String(decoding: bytes.prefix(count), as: UTF8.self)
    case .refused: return nil
    }
}
