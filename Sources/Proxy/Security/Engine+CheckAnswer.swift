import Glibc
import Loop
import ProxyResources
import Wire

extension Engine {
    /// A call of `Check` has ended; the response stands whole in `captured`, its head just parsed.
    mutating func checkAnswered(
        _ client: Conn, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry, _ captured: Bytes,
        _ length: Int, _ grpcStatus: UInt8
    ) {
        if let failure = failure(of: parser.head.status, grpcStatus) {
            authorizationFailed(client, failure)
            return
        }
        var text = ByteView(start: captured + parser.head.length, count: length - parser.head.length)
        if parser.head.isChunked { text.count = ChunkedText.unframe(captured + parser.head.length, text.count) }
        guard let message = onlyMessage(text), let answer = try? CheckAnswer(message) else {
            authorizationFailed(client, .badAnswer)
            return
        }
        if !answer.isAllowed {
            refuse(client, access, entry, answer.status, lines(of: answer), answer.body)
        } else if follow(answer, client) {
            allow(client, entry)
        } else {
            authorizationFailed(client, .badAnswer)
        }
    }

    /// Why a call brought no answer, or `nil`.
    private func failure(of status: Int, _ grpcStatus: UInt8) -> ExternalVerdict? {
        if status != 200 { return status >= 500 ? .unreachable : .failed }
        switch grpcStatus {
        case 0: return nil
        case 4: return .timedOut
        case 8: return .overloaded
        case 14: return .unreachable
        case Connection.noGRPCStatus: return .badAnswer
        default: return .failed
        }
    }

    /// The one message of a response: not compressed, since we did not say that we could read it.
    private func onlyMessage(_ text: ByteView) -> ByteView? {
        if text.count < 5 || text.start[0] != 0 { return nil }
        var length = 0
        for place in 1..<5 { length = length << 8 | Int(text.start[place]) }
        return length == text.count - 5 ? text.dropFirst(5) : nil
    }

    /// The header lines of a refusal.
    private func lines(of answer: CheckAnswer) -> [UInt8] {
        var lines: [UInt8] = []
        var hasType = false
        for line in answer.responseLines where line.action != .overtaken && line.action != .setIfPresent {
            if OwnLines.areOurs(line.name.start, line.name.count) { continue }
            if line.name.count == 12 && sameName(line.name.start, StaticText.contentType.utf8Start, 12) {
                hasType = true
            }
            lines += UnsafeBufferPointer(start: line.name.start, count: line.name.count)
            lines += [58, 32]
            lines += UnsafeBufferPointer(start: line.value.start, count: line.value.count)
            lines += [13, 10]
        }
        if !hasType && answer.body.count > 0 { lines += Array("content-type: text/plain\r\n".utf8) }
        return lines
    }

    // MARK: leave

    /// Does to the request what the answer asks for. False when there is no room for all of it.
    private mutating func follow(_ answer: CheckAnswer, _ client: Conn) -> Bool {
        guard let input = client.pointee.input,
            parser.request(input + Int(client.pointee.inputStart), client.pointee.inputCount) == .complete
        else { return false }
        let bytes = UnsafePointer(input + Int(client.pointee.inputStart))
        for name in answer.removed where !OwnLines.areOurs(name.start, name.count) {
            addDrop(client, name.start, name.count)
        }
        for line in answer.requestLines where !OwnLines.areOurs(line.name.start, line.name.count) {
            let isThere = findLine(bytes, line.name.start, line.name.count) != nil
            switch line.action {
            case .append: addLine(client, Grants.join, line.name, line.value)
            case .addIfAbsent: if !isThere { addLine(client, Grants.set, line.name, line.value) }
            case .set: addLine(client, Grants.set, line.name, line.value)
            case .setIfPresent: if isThere { addLine(client, Grants.set, line.name, line.value) }
            case .overtaken: break
            }
        }
        if !answer.responseLines.isEmpty && !keepResponseLines(answer.responseLines, client) { return false }
        if answer.setParameters.isEmpty && answer.removedParameters.isEmpty { return true }
        return editQuery(client, answer)
    }

    private mutating func keepResponseLines(_ lines: [CheckAnswer.Line], _ client: Conn) -> Bool {
        let extras = extras(client)
        var at = Int(extras.pointee.grantedLength)
        for line in lines where line.action != .overtaken && !OwnLines.areOurs(line.name.start, line.name.count) {
            let count = line.name.count + line.value.count + 4
            if at + count + 4 > ExternalLimits.responseLines { return false }
            let out = extras.granted + at
            out[0] = line.action.rawValue
            out[1] = UInt8(truncatingIfNeeded: line.name.count >> 8)
            out[2] = UInt8(truncatingIfNeeded: line.name.count)
            out[3] = 0
            var end = 0
            let text = out + 6
            put(line.name.start, line.name.count, text, &end)
            put(": ", text, &end)
            put(line.value.start, line.value.count, text, &end)
            put("\r\n", text, &end)
            out[4] = UInt8(truncatingIfNeeded: end >> 8)
            out[5] = UInt8(truncatingIfNeeded: end)
            at += end + 6
        }
        extras.pointee.grantedLength = Int32(truncatingIfNeeded: at)
        client.pointee.editsResponse = true
        return true
    }

    /// The lines an authorizer gives to the response whose head was just parsed: marks those that they replace, and those of them that
    /// do not hold.
    func dropGrantedResponse(_ extras: Extras, _ bytes: UnsafePointer<UInt8>) {
        eachGranted(extras) { out, name, count in
            let text = out + 6
            let isThere = findLine(bytes, text, name) != nil
            switch CheckAnswer.Action(rawValue: out[0]) {
            case .set: dropLines(bytes, text, name)
            case .addIfAbsent: out[3] = isThere ? 1 : 0
            case .setIfPresent:
                out[3] = isThere ? 0 : 1
                if isThere { dropLines(bytes, text, name) }
            default: break
            }
        }
    }

    func putGrantedResponse(_ extras: Extras, _ out: Bytes, _ at: inout Int) {
        var place = at
        eachGranted(extras) { entry, _, count in
            if entry[3] == 0 { put(entry + 6, count, out, &place) }
        }
        at = place
    }

    private func eachGranted(_ extras: Extras, _ body: (_ entry: Bytes, _ name: Int, _ count: Int) -> Void) {
        var place = 0
        while place + 6 <= Int(extras.pointee.grantedLength) {
            let entry = extras.granted + place
            let name = Int(entry[1]) << 8 | Int(entry[2])
            let count = Int(entry[4]) << 8 | Int(entry[5])
            body(entry, name, count)
            place += 6 + count
        }
    }

    // MARK: the query

    /// Changes parameters of the query of the request whose head was just parsed, where it stands: the request is read again from there,
    /// and so routed by its new query.
    private mutating func editQuery(_ client: Conn, _ answer: CheckAnswer) -> Bool {
        guard let input = client.pointee.input, !parser.head.isConnect else { return false }
        let start = Int(client.pointee.inputStart) + parser.head.pathOffset
        let query = Self.edited(
            UnsafeBufferPointer(start: input + start, count: parser.head.pathLength), answer)
        let count = query.count
        let gap = count - parser.head.pathLength
        if parser.head.targetLength + gap > parser.requestLimits.target { return false }
        let held = Int(client.pointee.inputEnd)
        guard let sizeClass = BufferPool.sizeClass(for: held + gap) else { return false }
        var text = input
        if sizeClass > client.pointee.inputClass {
            text = buffers.take(sizeClass)
            memcpy(text, input, held)
            buffers.give(input, client.pointee.inputClass)
            client.pointee.input = text
            client.pointee.inputClass = sizeClass
        }
        let end = start + parser.head.pathLength
        memmove(text + end + gap, text + end, held - end)
        query.withUnsafeBufferPointer { query in
            if let from = query.baseAddress { memcpy(text + start, from, count) }
        }
        client.pointee.inputEnd += Int32(truncatingIfNeeded: gap)
        if client.pointee.isStream, state(client).pointee.chunkPlace >= 0 {
            state(client).pointee.chunkPlace += Int32(truncatingIfNeeded: gap)
        }
        return true
    }

    /// A path and query with parameters removed and set. Those that stay keep their order and spelling.
    private static func edited(_ target: UnsafeBufferPointer<UInt8>, _ answer: CheckAnswer) -> [UInt8] {
        let mark = target.firstIndex(of: 63) ?? target.count
        var gone = answer.removedParameters.map { Array(UnsafeBufferPointer(start: $0.start, count: $0.count)) }
        gone += answer.setParameters.map { Array(UnsafeBufferPointer(start: $0.name.start, count: $0.name.count)) }
        var parameters: [[UInt8]] = []
        if mark < target.count {
            for piece in target[(mark + 1)...].split(separator: 38, omittingEmptySubsequences: false) {
                let name = piece.prefix { $0 != 61 }
                let plain = PercentText.decodeForm(UnsafeBufferPointer(rebasing: name))
                if !gone.contains(plain) && !gone.contains(Array(name)) { parameters.append(Array(piece)) }
            }
        }
        for (place, parameter) in answer.setParameters.enumerated() {
            let isOvertaken = answer.setParameters[(place + 1)...].contains { $0.name.isSame(as: parameter.name) }
            if isOvertaken { continue }
            let name = UnsafeBufferPointer(start: parameter.name.start, count: parameter.name.count)
            let value = UnsafeBufferPointer(start: parameter.value.start, count: parameter.value.count)
            parameters.append(PercentText.encode(name) + [61] + PercentText.encode(value))
        }
        var out = Array(target[..<mark])
        if out.isEmpty { out = [47] }
        if !parameters.isEmpty { out += [63] + parameters.joined(separator: [38]) }
        return out
    }
}
