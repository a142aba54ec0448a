import Glibc
import Wire

/// The fields of one decoded header block, and the rules all of them follow (RFC 9113 §8.2).
struct FieldList {
    let text: UnsafePointer<UInt8>
    let places: UnsafeMutablePointer<FieldPlace>
    let count: Int
    /// Of all names and values.
    let bytes: Int

    @inline(__always) func name(_ place: Int) -> UnsafePointer<UInt8> { text + Int(places[place].nameOffset) }
    @inline(__always) func nameLength(_ place: Int) -> Int { Int(places[place].nameLength) }
    @inline(__always) func value(_ place: Int) -> UnsafePointer<UInt8> { text + Int(places[place].valueOffset) }
    @inline(__always) func valueLength(_ place: Int) -> Int { Int(places[place].valueLength) }

    @inline(__always)
    func isNamed(_ place: Int, _ word: StaticString) -> Bool { same(name(place), nameLength(place), word) }

    @inline(__always)
    func isValue(_ place: Int, _ word: StaticString) -> Bool { same(value(place), valueLength(place), word) }

    /// A regular field: a lower-case token, of no connection, with a value that breaks no line.
    @inline(__always)
    func check(_ place: Int) throws(MessageFault) {
        let name = name(place)
        let length = nameLength(place)
        if length == 0 { throw .badName }
        for offset in 0..<length where !isNameByte(name[offset]) { throw .badName }
        try checkValue(place)
        switch length {
        case 2: if same(name, 2, "te") && !isValue(place, "trailers") { throw .badTE }
        case 7: if same(name, 7, "upgrade") { throw .connectionField }
        case 10:
            if same(name, 10, "connection") || same(name, 10, "keep-alive") { throw .connectionField }
        case 16: if same(name, 16, "proxy-connection") { throw .connectionField }
        case 17: if same(name, 17, "transfer-encoding") { throw .connectionField }
        default: break
        }
    }

    @inline(__always)
    func checkValue(_ place: Int) throws(MessageFault) {
        let value = value(place)
        let length = valueLength(place)
        if length == 0 { return }
        if isSpace(value[0]) || isSpace(value[length - 1]) { throw .badValue }
        var isBad = false
        for offset in 0..<length {
            let byte = value[offset]
            isBad = isBad || byte == 0 || byte == 10 || byte == 13
        }
        if isBad { throw .badValue }
    }

    /// A content-length; nil when it is no number.
    func number(_ place: Int) -> Int? {
        let value = value(place)
        let length = valueLength(place)
        if length == 0 || length > 16 { return nil }
        var number = 0
        for offset in 0..<length {
            let digit = Int(value[offset]) - 48
            if digit < 0 || digit > 9 { return nil }
            number = number * 10 + digit
        }
        return number
    }

    /// `application/grpc`, alone or with `+proto` or parameters.
    func isGRPC(_ place: Int) -> Bool {
        let length = valueLength(place)
        guard length >= 16, same(value(place), 16, "application/grpc") else { return false }
        return length == 16 || value(place)[16] == 43 || value(place)[16] == 59
    }

    /// The call's outcome, when a field says it.
    func grpcStatus() -> UInt8? {
        for place in 0..<count where nameLength(place) == 11 && isNamed(place, "grpc-status") {
            guard let number = number(place) else { return 2 }
            return number < 255 ? UInt8(number) : 2
        }
        return nil
    }
}

@inline(__always)
func same(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ word: StaticString) -> Bool {
    count == word.utf8CodeUnitCount && memcmp(bytes, word.utf8Start, count) == 0
}

@inline(__always) private func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }

/// RFC 9110 §5.6.2, without capitals.
@inline(__always)
private func isNameByte(_ byte: UInt8) -> Bool {
    if byte >= 97 && byte <= 122 || byte == 45 || byte >= 48 && byte <= 57 { return true }
    switch byte {
    case 33, 35, 36, 37, 38, 39, 42, 43, 46, 94, 95, 96, 124, 126: return true
    default: return false
    }
}
