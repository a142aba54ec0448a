import Glibc
import Loop
import ProxyResources
import Wire

extension Engine {
    /// Leaves out the lines that this hop writes itself, or that nobody outside may set.
    @inline(__always)
    func dropEffort(_ client: Conn) {
        let head = parser.head
        if head.retryDepthLine >= 0 && client.pointee.side == .gateway {
            parser.lines[head.retryDepthLine].dropped = true
        }
        if head.attemptLine >= 0 && client.pointee.side != .inbound { parser.lines[head.attemptLine].dropped = true }
        if head.deadlineLine >= 0 { parser.lines[head.deadlineLine].dropped = true }
        if head.grpcTimeoutLine >= 0 { parser.lines[head.grpcTimeoutLine].dropped = true }
    }

    /// Writes what the next hop shall know: how much time is left, that this hop repeats the request, and which try this is. The
    /// numbers have a fixed width, so that they can be changed in place before the next try.
    mutating func putEffort(_ client: Conn, _ out: Bytes, _ at: inout Int) {
        let effort = efforts + Int(client.pointee.index)
        effort.pointee.attemptPlace = -1
        effort.pointee.deadlinePlace = -1
        effort.pointee.grpcPlace = -1
        startTries(client, effort)
        let isGRPC = draft(client).pointee.kind == .grpc
        if effort.pointee.end != .max || hasTryTime(client, effort) {
            if isGRPC || parser.head.grpcTimeoutLine >= 0 {
                put("grpc-timeout: ", out, &at)
                effort.pointee.grpcPlace = Int32(truncatingIfNeeded: at)
                put("       0m\r\n", out, &at)
            }
            if !isGRPC || parser.head.deadlineLine >= 0 {
                put("x-request-deadline: ", out, &at)
                effort.pointee.deadlinePlace = Int32(truncatingIfNeeded: at)
                put("         0\r\n", out, &at)
            }
        }
        if effort.pointee.repeats {
            put("x-weft-retry-depth: 1\r\nx-weft-attempt: ", out, &at)
            effort.pointee.attemptPlace = Int32(truncatingIfNeeded: at)
            put(" 1\r\n", out, &at)
        }
    }

    private func hasTryTime(_ client: Conn, _ effort: UnsafeMutablePointer<Effort>) -> Bool {
        guard effort.pointee.entry >= 0, let arrays = client.pointee.table?.pointee.arrays else { return false }
        return arrays.pointee.resilience.efforts[Int(effort.pointee.entry)].retry.tryTime > 0
    }

    /// Whether this hop will repeat the request if it fails, from what its head says.
    private func startTries(_ client: Conn, _ effort: UnsafeMutablePointer<Effort>) {
        effort.pointee.repeats = false
        guard effort.pointee.entry >= 0, let arrays = client.pointee.table?.pointee.arrays else { return }
        let plan = arrays.pointee.resilience.efforts[Int(effort.pointee.entry)].retry
        if plan.attempts == 0 { return }
        if parser.head.retryDepthLine >= 0 && client.pointee.side != .gateway {
            let line = parser.lines[parser.head.retryDepthLine]
            // Anything but 0: who marks it means it.
            let isNone = line.valueLength == 1 && parserByte(client, Int(line.valueOffset)) == 48
            effort.pointee.outerRepeats = !isNone
        }
        effort.pointee.bodyBytes = Int32(clamping: plan.bodyBytes)
        effort.pointee.keepsBody = plan.bodyBytes > 0 && parser.head.contentLength <= plan.bodyBytes
        let isTooLong = parser.head.contentLength > plan.bodyBytes
        let isMethod = !plan.idempotentOnly || client.pointee.isIdempotent
        effort.pointee.repeats = !effort.pointee.outerRepeats && !isTooLong && isMethod
    }

    /// A byte of the head that was just parsed, which stands in `input`.
    private func parserByte(_ client: Conn, _ offset: Int) -> UInt8 {
        guard let input = client.pointee.input else { return 0 }
        return input[Int(client.pointee.inputStart) + offset]
    }

    /// Writes the present try's numbers into its head.
    func stampTry(_ client: Conn, _ out: Bytes) {
        let effort = efforts + Int(client.pointee.index)
        if effort.pointee.attemptPlace >= 0 {
            let number = UInt64(effort.pointee.repetitions) + 1
            DeadlineText.write(number, 2, out + Int(effort.pointee.attemptPlace))
        }
        let left = effort.pointee.nextEnd &- min(effort.pointee.nextEnd, now)
        let milliseconds = max(1, left / 1_000_000)
        if effort.pointee.deadlinePlace >= 0 {
            DeadlineText.write(milliseconds, 10, out + Int(effort.pointee.deadlinePlace))
        }
        if effort.pointee.grpcPlace >= 0 {
            DeadlineText.write(milliseconds, 8, out + Int(effort.pointee.grpcPlace))
        }
    }
}
