import Glibc
import Loop
import Wire

extension Engine {
    /// Begins an answer of a route's own: status and reason, and what CORS asks for. The caller puts lines of its own behind
    /// `outputEnd`, for which there is `room`, and finishes the reply.
    ///
    /// - Returns: nil when there is no memory for it; the connection is then gone.
    mutating func beginReply(_ client: Conn, status: Int, _ flag: ResponseFlag, _ reason: StaticString, room: Int)
        -> Bytes?
    {
        client.pointee.status = UInt16(truncatingIfNeeded: status)
        client.pointee.flag = flag
        draft(client).pointee.reason = reason
        if client.pointee.phase != .done || isDraining { client.pointee.closesAfter = true }
        let added = Int(client.pointee.extras?.pointee.linesLength ?? 0)
        let granted = Int(client.pointee.extras?.pointee.grantedLength ?? 0)
        guard let out = self.room(client, room &+ added &+ granted &+ 256) else {
            closePair(client, flag)
            return nil
        }
        var at = Int(client.pointee.outputEnd)
        client.pointee.replyStart = client.pointee.outputEnd
        put("HTTP/1.1 ", out, &at)
        putNumber(status, out, &at)
        put(" ", out, &at)
        put(reasonPhrase(status), out, &at)
        put("\r\nx-weft-reason: ", out, &at)
        put(reason, out, &at)
        put("\r\n", out, &at)
        if let extras = client.pointee.extras {
            put(extras.lines, added, out, &at)
            if granted > 0 { putGrantedResponse(extras, out, &at) }
        }
        client.pointee.outputEnd = Int32(truncatingIfNeeded: at)
        return out
    }

    /// Ends the head behind `at`, adds the body and sends it all.
    mutating func finishReply(
        _ client: Conn, _ out: Bytes, _ at: inout Int, _ body: UnsafePointer<UInt8>?, _ bodyLength: Int
    ) {
        if client.pointee.status != 204 {
            put("content-length: ", out, &at)
            putNumber(bodyLength, out, &at)
            put("\r\n", out, &at)
        }
        if client.pointee.closesAfter {
            put("connection: close\r\n", out, &at)
        } else if client.pointee.oldClient {
            put("connection: keep-alive\r\n", out, &at)
        }
        put("\r\n", out, &at)
        client.pointee.outputEnd = Int32(truncatingIfNeeded: at)
        if let body, bodyLength > 0, !client.pointee.isHead, client.pointee.status != 204 {
            guard let space = room(client, bodyLength) else {
                closePair(client, .overflow)
                return
            }
            memcpy(space + Int(client.pointee.outputEnd), body, bodyLength)
            client.pointee.outputEnd &+= Int32(truncatingIfNeeded: bodyLength)
        }
        client.pointee.responseBytes = Int(client.pointee.outputEnd &- client.pointee.replyStart)
        endExchange(client)
        if flush(client) == .failed {
            close(client)
            return
        }
        afterResponse(client)
    }

    func putEdits(_ arrays: TableView, _ run: Run, _ out: Bytes, _ at: inout Int) {
        for place in Int(run.start)..<Int(run.start &+ run.count) {
            put(
                arrays.pointee.text + Int(arrays.pointee.edits[place].line.offset),
                Int(arrays.pointee.edits[place].line.count), out, &at)
        }
    }

    /// Drops the lines that are replaced or removed.
    func dropEdited(_ arrays: TableView, _ edits: EditRuns, _ bytes: UnsafePointer<UInt8>) {
        let start = Int(edits.set.start)
        for edit in start..<start + Int(edits.set.count) + Int(edits.remove.count) {
            let name = arrays.pointee.edits[edit].name
            dropLines(bytes, arrays.pointee.text + Int(name.offset), Int(name.count))
        }
    }

    /// Drops all lines with a name, which is given in lower case.
    func dropLines(_ bytes: UnsafePointer<UInt8>, _ name: UnsafePointer<UInt8>, _ count: Int) {
        for place in 0..<parser.head.lineCount where Int(parser.lines[place].nameLength) == count {
            if sameName(bytes + Int(parser.lines[place].offset), name, count) { parser.lines[place].dropped = true }
        }
    }
}
