import Glibc

/// Calls `body` with each element of a comma-separated list, without the space around it.
@inline(__always)
func forEachToken(_ value: UnsafePointer<UInt8>, _ count: Int, _ body: (UnsafePointer<UInt8>, Int) -> Void) {
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
func mentions(_ value: UnsafePointer<UInt8>, _ count: Int, _ word: StaticString) -> Bool {
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
func hasToken(_ value: UnsafePointer<UInt8>, _ count: Int, _ word: StaticString) -> Bool {
    var found = false
    forEachToken(value, count) { token, length in if equals(token, length, word) { found = true } }
    return found
}

@inline(__always)
func begins(_ bytes: UnsafePointer<UInt8>, _ word: StaticString) -> Bool {
    memcmp(bytes, word.utf8Start, word.utf8CodeUnitCount) == 0
}

/// Compares ASCII without regard to case; `word` is lower case.
@inline(__always)
func equals(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ word: StaticString) -> Bool {
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

/// What a refused line has in it that never belongs into a head.
func control(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> HeadFault? {
    if count <= 0 { return nil }
    if memchr(bytes, 0, count) != nil { return .nulInHead }
    return memchr(bytes, 13, count) != nil ? .bareReturn : nil
}

func cText(_ bytes: UnsafePointer<UInt8>) -> UnsafePointer<CChar> {
    UnsafeRawPointer(bytes).assumingMemoryBound(to: CChar.self)
}
