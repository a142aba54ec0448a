import Wire

/// Heads of requests and responses, and chunked bodies. The first byte says which, and where the input is split.
enum HTTP1Target {
    static func run(_ input: Input) {
        guard let first = input.first, let base = input.baseAddress else { return }
        let bytes = base + 1
        let count = input.count - 1
        if first & 3 == 3 {
            chunks(bytes, count, split: Int(first >> 2) + 1)
            return
        }
        let isRequest = first & 1 == 0
        var parser = HeadParser()
        func parse(_ count: Int) -> HeadOutcome {
            isRequest ? parser.request(bytes, count) : parser.response(bytes, count)
        }
        let whole = parse(count)
        if whole == .complete { check(parser.head, parser.lines, bytes, count) }
        // What is refused or complete early stays so: more bytes of the same head change nothing.
        let part = count * Int(first >> 2) / 64
        switch parse(part) {
        case .incomplete: break
        case .complete: precondition(whole == .complete, "a whole head was taken back")
        case .refused(let fault):
            guard case .refused(let later) = whole else { preconditionFailure("a refused head was taken later") }
            _ = (fault, later)
        }
    }

    private static func check(
        _ head: MessageHead, _ lines: UnsafeMutablePointer<HeaderLine>, _ bytes: UnsafePointer<UInt8>, _ count: Int
    ) {
        precondition(head.length <= count && head.length > 0)
        precondition(!(head.isChunked && head.contentLength >= 0), "two framings")
        precondition(head.pathOffset + head.pathLength <= head.startLineLength)
        precondition(head.hostOffset + head.hostLength <= head.length)
        for place in 0..<head.lineCount {
            let line = lines[place]
            precondition(Int(line.offset) + Int(line.length) <= head.length)
            precondition(Int(line.valueOffset) + Int(line.valueLength) + 2 <= Int(line.offset) + Int(line.length))
            let end = Int(line.offset) + Int(line.length)
            for byte in Int(line.offset)..<end - 2 {
                precondition(bytes[byte] != 0 && bytes[byte] != 13 && bytes[byte] != 10, "a line within a line")
            }
        }
    }

    /// However the bytes arrive, the same number belongs to the body.
    private static func chunks(_ bytes: UnsafePointer<UInt8>, _ count: Int, split: Int) {
        var whole = ChunkScanner()
        let taken = whole.scan(bytes, count)
        precondition(taken <= count)
        var parts = ChunkScanner()
        var place = 0
        while place < count, !parts.isDone, !parts.isBad {
            let step = parts.scan(bytes + place, min(split, count - place))
            place += step
            if step == 0 { break }
        }
        precondition(place == taken && parts == whole, "a body that depends on how it arrives")
    }
}
