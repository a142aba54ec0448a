import Glibc
import Loop
import Wire

extension Engine {
    /// Goes on with the trace a request brings, or begins one, in the draft.
    @inline(__always)
    mutating func beginTrace(_ client: Conn, _ bytes: UnsafePointer<UInt8>, _ draft: RecordPointer) {
        let settings = client.pointee.table?.pointee.arrays.pointee.telemetry
        let isTracing = settings?.pointee.isTracing ?? false
        if !isTracing && parser.head.traceParentLine < 0 && parser.head.b3Line < 0 { return }
        var context: TraceContext? = nil
        if parser.head.traceParentLine >= 0 {
            let line = parser.lines[parser.head.traceParentLine]
            context = .parent(bytes + Int(line.valueOffset), Int(line.valueLength))
            if context != nil { draft.pointee.context = .w3c }
        }
        if context == nil && parser.head.b3Line >= 0 { context = callersB3(bytes, draft) }
        if let context {
            draft.pointee.traceHigh = context.high
            draft.pointee.traceLow = context.low
            draft.pointee.parentSpan = context.span
            draft.pointee.isSampled = context.isSampled ?? false
        }
        guard isTracing, let settings else { return }
        if context?.isSampled == nil {
            draft.pointee.isSampled = Self.draws(&chance, settings.pointee.traceThreshold)
        }
        if draft.pointee.traceHigh | draft.pointee.traceLow == 0 {
            draft.pointee.traceHigh = chance.next()
            draft.pointee.traceLow = chance.next()
        }
        draft.pointee.span = chance.next()
        if client.pointee.side == .gateway { draft.pointee.clientSpan = chance.next() }
        let isWanted = client.pointee.side == .inbound ? settings.pointee.tracesServer : settings.pointee.tracesClient
        draft.pointee.hasSpan = isWanted && draft.pointee.isSampled && settings.pointee.exportsSpans
    }

    /// True for the share of calls `threshold` is of 2^32.
    @inline(__always)
    static func draws(_ chance: inout Chance, _ threshold: UInt64) -> Bool {
        threshold > 0 && chance.next() >> 32 < threshold
    }

    private func callersB3(_ bytes: UnsafePointer<UInt8>, _ draft: RecordPointer) -> TraceContext? {
        let line = parser.lines[parser.head.b3Line]
        if line.nameLength == 2 {
            let context = TraceContext.b3(bytes + Int(line.valueOffset), Int(line.valueLength))
            if context != nil { draft.pointee.context = .b3 }
            return context
        }
        let value = bytes + Int(line.valueOffset)
        guard let trace = TraceContext.traceNumber(value, Int(line.valueLength)) else { return nil }
        var context = TraceContext(high: trace.high, low: trace.low)
        guard let place = findLine(bytes, StaticText.b3Span.utf8Start, StaticText.b3Span.utf8CodeUnitCount) else {
            return nil
        }
        let span = parser.lines[place]
        guard span.valueLength == 16, let number = Hex.number(bytes + Int(span.valueOffset), 16), number != 0 else {
            return nil
        }
        context.span = number
        if let place = findLine(bytes, StaticText.b3Sampled.utf8Start, StaticText.b3Sampled.utf8CodeUnitCount) {
            let sampled = parser.lines[place]
            let word = bytes + Int(sampled.valueOffset)
            switch sampled.valueLength {
            case 1: context.isSampled = TraceContext.decision(word[0])
            case 4 where sameName(word, StaticText.yes.utf8Start, 4): context.isSampled = true
            case 5 where sameName(word, StaticText.no.utf8Start, 5): context.isSampled = false
            default: break
            }
        }
        draft.pointee.context = .b3Multi
        return context
    }

    /// Takes the caller's context from the lines that go on, when this hop writes its own.
    @inline(__always)
    func dropTrace(_ client: Conn, _ bytes: UnsafePointer<UInt8>) {
        let draft = draft(client)
        if draft.pointee.span == 0 { return }
        if parser.head.traceParentLine != -1 {
            dropLines(bytes, StaticText.traceParent)
            // Without the parent it came with, the state says nothing (W3C Trace Context §3.3).
            if draft.pointee.context != .w3c { dropLines(bytes, StaticText.traceState) }
        } else if parser.head.traceStateLine >= 0 {
            dropLines(bytes, StaticText.traceState)
        }
        if parser.head.b3Line < 0 { return }
        dropLines(bytes, StaticText.b3)
        dropLines(bytes, StaticText.b3Trace)
        dropLines(bytes, StaticText.b3Span)
        dropLines(bytes, StaticText.b3Sampled)
        dropLines(bytes, StaticText.b3Parent)
    }

    private func dropLines(_ bytes: UnsafePointer<UInt8>, _ name: StaticString) {
        let count = name.utf8CodeUnitCount
        for place in 0..<parser.head.lineCount where Int(parser.lines[place].nameLength) == count {
            if sameName(bytes + Int(parser.lines[place].offset), name.utf8Start, count) {
                parser.lines[place].dropped = true
            }
        }
    }

    /// This hop's context, for the next one: 220 bytes at most.
    @inline(__always)
    func putTrace(_ client: Conn, _ out: Bytes, _ at: inout Int) {
        let draft = draft(client)
        if draft.pointee.span == 0 { return }
        let span = draft.pointee.clientSpan != 0 ? draft.pointee.clientSpan : draft.pointee.span
        let parent = draft.pointee.clientSpan != 0 ? draft.pointee.span : draft.pointee.parentSpan
        var form = draft.pointee.context
        if form == .none { form = client.pointee.table?.pointee.arrays.pointee.telemetry.pointee.traceForm ?? .w3c }
        let digit: StaticString = draft.pointee.isSampled ? "1" : "0"
        switch form {
        case .none, .w3c:
            put("traceparent: 00-", out, &at)
            putTraceNumber(draft, out, &at)
            put("-", out, &at)
            putHex(span, out, &at)
            put("-0", out, &at)
            put(digit, out, &at)
        case .b3:
            put("b3: ", out, &at)
            putTraceNumber(draft, out, &at)
            put("-", out, &at)
            putHex(span, out, &at)
            put("-", out, &at)
            put(digit, out, &at)
            if parent != 0 {
                put("-", out, &at)
                putHex(parent, out, &at)
            }
        case .b3Multi:
            put("x-b3-traceid: ", out, &at)
            putTraceNumber(draft, out, &at)
            put("\r\nx-b3-spanid: ", out, &at)
            putHex(span, out, &at)
            if parent != 0 {
                put("\r\nx-b3-parentspanid: ", out, &at)
                putHex(parent, out, &at)
            }
            put("\r\nx-b3-sampled: ", out, &at)
            put(digit, out, &at)
        }
        put("\r\n", out, &at)
    }

    @inline(__always)
    private func putTraceNumber(_ draft: RecordPointer, _ out: Bytes, _ at: inout Int) {
        putHex(draft.pointee.traceHigh, out, &at)
        putHex(draft.pointee.traceLow, out, &at)
    }

    @inline(__always)
    private func putHex(_ value: UInt64, _ out: Bytes, _ at: inout Int) {
        Hex.write(value, 16, out + at)
        at &+= 16
    }
}

extension StaticText {
    static var traceParent: StaticString { "traceparent" }
    static var traceState: StaticString { "tracestate" }
    static var b3: StaticString { "b3" }
    static var b3Trace: StaticString { "x-b3-traceid" }
    static var b3Span: StaticString { "x-b3-spanid" }
    static var b3Sampled: StaticString { "x-b3-sampled" }
    static var b3Parent: StaticString { "x-b3-parentspanid" }
    static var yes: StaticString { "true" }
    static var no: StaticString { "false" }
}
