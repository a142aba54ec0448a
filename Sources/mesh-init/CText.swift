import CKernel
import CLinux

/// Strings as C wants them: a list of NUL-terminated texts that ends with NULL, alive as long as this value.
struct CTexts: ~Copyable {
    private let base: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ texts: [[UInt8]]) {
        count = texts.count
        base = .allocate(capacity: texts.count + 1)
        for (place, text) in texts.enumerated() {
            let copy = UnsafeMutablePointer<CChar>.allocate(capacity: text.count + 1)
            for (offset, byte) in text.enumerated() { copy[offset] = CChar(bitPattern: byte) }
            copy[text.count] = 0
            base[place] = copy
        }
        base[texts.count] = nil
    }

    deinit {
        for place in 0..<count { base[place]?.deallocate() }
        base.deallocate()
    }

    subscript(place: Int) -> UnsafePointer<CChar>? { UnsafePointer(base[place]) }
    var mutable: UnsafePointer<UnsafeMutablePointer<CChar>?> { UnsafePointer(base) }
    var constant: UnsafePointer<UnsafePointer<CChar>?> {
        UnsafeRawPointer(base).assumingMemoryBound(to: UnsafePointer<CChar>?.self)
    }
}

extension [UInt8] {
    /// The bytes of a literal.
    init(ascii text: StaticString) {
        self = Array(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    var endedByNUL: [CChar] { map { CChar(bitPattern: $0) } + [0] }

    func starts(withBytes other: [UInt8]) -> Bool {
        guard count >= other.count else { return false }
        for place in 0..<other.count where self[place] != other[place] { return false }
        return true
    }
}

/// Appends a number in decimal, filled with zeros to `width` digits.
func appendDecimal(_ number: Int64, width: Int, to out: inout [UInt8]) {
    var digits: [UInt8] = []
    var rest = number
    repeat {
        digits.append(48 + UInt8(truncatingIfNeeded: rest % 10))
        rest /= 10
    } while rest > 0
    while digits.count < width { digits.append(48) }
    out += digits.reversed()
}
