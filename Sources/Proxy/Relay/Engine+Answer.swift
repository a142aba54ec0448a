import Glibc
import Wire

extension Engine {
    /// Answers in the upstream's place, saying why in `x-weft-reason`.
    mutating func answer(_ client: Conn, status: Int, _ flag: ResponseFlag, _ reason: StaticString, close closes: Bool)
    {
        if client.pointee.isShadow {
            endShadow(client, flag, status: status, reason)
            return
        }
        client.pointee.status = UInt16(truncatingIfNeeded: status)
        client.pointee.flag = flag
        if !client.pointee.inExchange {
            client.pointee.inExchange = true
            counts.exchanges += 1
            if client.pointee.startedAt == 0 { client.pointee.startedAt = now }
            blankDraft(client)
        }
        draft(client).pointee.reason = reason
        if closes || client.pointee.phase != .done || isDraining { client.pointee.closesAfter = true }
        guard let out = room(client, 640 + answerLines.count) else {
            answerLines.removeAll(keepingCapacity: true)
            closePair(client, flag)
            return
        }
        var at = Int(client.pointee.outputEnd)
        let start = at
        if client.pointee.isGRPC {
            composeGRPCAnswer(client, status: status, reason, out, &at)
            finishAnswer(client, start, at)
            return
        }
        put("HTTP/1.1 ", out, &at)
        putNumber(status, out, &at)
        put(" ", out, &at)
        put(reasonPhrase(status), out, &at)
        put("\r\n", out, &at)
        if client.pointee.hasEffort { putRefusal(client, out, &at) }
        put("x-weft-reason: ", out, &at)
        put(reason, out, &at)
        putAnswerID(client, out, &at)
        put("\r\ncontent-type: text/plain\r\ncontent-length: ", out, &at)
        putNumber(reason.utf8CodeUnitCount + 1, out, &at)
        if client.pointee.closesAfter {
            put("\r\nconnection: close", out, &at)
        } else if client.pointee.oldClient {
            put("\r\nconnection: keep-alive", out, &at)
        }
        put("\r\n", out, &at)
        if !answerLines.isEmpty {
            answerLines.withUnsafeBufferPointer { lines in
                if let start = lines.baseAddress { put(start, lines.count, out, &at) }
            }
            answerLines.removeAll(keepingCapacity: true)
        }
        put("\r\n", out, &at)
        if !client.pointee.isHead {
            put(reason, out, &at)
            put("\n", out, &at)
        }
        finishAnswer(client, start, at)
    }

    mutating func finishAnswer(_ client: Conn, _ start: Int, _ at: Int) {
        client.pointee.outputEnd = Int32(truncatingIfNeeded: at)
        client.pointee.responseBytes = at - start
        endExchange(client)
        if flush(client) == .failed {
            close(client)
            return
        }
        afterResponse(client)
    }
}
