import CKernel
import Glibc
import Loop

/// A pipe through which the kernel moves bytes from one socket to another, without a copy here.
struct SplicePipe {
    var readEnd: CInt
    var writeEnd: CInt
    /// Bytes inside.
    var held = 0
}

extension Engine {
    /// A tunnel's direction that has moved this much is worth a pipe.
    static var spliceAfter: UInt64 { 1 << 20 }
    /// Of one loop. Two descriptors and at most 1 MB of the kernel's memory each.
    static var mostPipes: Int { 128 }
    /// Bytes for a turn of the loop, so that others get theirs.
    static var splicedAWake: Int { 4 << 20 }

    /// Gives a direction of a long tunnel a pipe: both ends plain, nothing of it waiting here.
    mutating func considerSplice(_ source: Conn, _ sink: Conn) {
        if source.pointee.pipe >= 0 { return }
        let isRequest = source.pointee.role == .client
        let record = draft(isRequest ? source : sink)
        if (isRequest ? record.pointee.requestBytes : record.pointee.responseBytes) < Self.spliceAfter { return }
        if source.pointee.ssl != nil || sink.pointee.ssl != nil || source.pointee.fd < 0 || sink.pointee.fd < 0 {
            return
        }
        if sink.pointee.hasOutput || !sink.pointee.canWrite || source.pointee.inputCount > 0 { return }
        source.pointee.pipe = takePipe()
    }

    private mutating func takePipe() -> Int16 {
        if let free = freePipes.popLast() { return free }
        if pipes.count >= Self.mostPipes { return -1 }
        var ends: (CInt, CInt) = (-1, -1)
        let code = withUnsafeMutableBytes(of: &ends) {
            weft_splice_pipe($0.baseAddress?.assumingMemoryBound(to: CInt.self))
        }
        if code < 0 { return -1 }
        pipes.append(SplicePipe(readEnd: ends.0, writeEnd: ends.1))
        return Int16(pipes.count - 1)
    }

    /// A pipe with bytes inside cannot serve another tunnel: it is made anew.
    mutating func dropPipe(_ connection: Conn) {
        let place = connection.pointee.pipe
        connection.pointee.pipe = -1
        if place < 0 { return }
        if pipes[Int(place)].held > 0 {
            Glibc.close(pipes[Int(place)].readEnd)
            Glibc.close(pipes[Int(place)].writeEnd)
            var ends: (CInt, CInt) = (-1, -1)
            let code = withUnsafeMutableBytes(of: &ends) {
                weft_splice_pipe($0.baseAddress?.assumingMemoryBound(to: CInt.self))
            }
            pipes[Int(place)] = SplicePipe(readEnd: ends.0, writeEnd: ends.1)
            // Without descriptors this place is of no use again.
            if code < 0 { return }
        }
        freePipes.append(place)
    }

    mutating func closePipes() {
        for pipe in pipes where pipe.readEnd >= 0 {
            Glibc.close(pipe.readEnd)
            Glibc.close(pipe.writeEnd)
        }
        pipes = []
        freePipes = []
    }

    /// Moves what `source` has sent to its peer, through its pipe.
    mutating func splice(_ source: Conn) {
        guard let sink = source.pointee.peer else { return }
        let place = Int(source.pointee.pipe)
        var moved = 0
        while moved < Self.splicedAWake {
            if pipes[place].held > 0 {
                let out = weft_splice(pipes[place].readEnd, sink.pointee.fd, pipes[place].held)
                if out == -Int(EAGAIN) {
                    source.pointee.isPaused = true
                    return
                }
                if out <= 0 {
                    writeFailed(sink)
                    return
                }
                pipes[place].held -= out
                moved += out
                counts.spliced &+= UInt64(out)
                count(source, out)
                continue
            }
            if source.pointee.endOfInput {
                inputEnded(source)
                return
            }
            if source.pointee.isDrained { return }
            let count = weft_splice(source.pointee.fd, pipes[place].writeEnd, 1 << 20)
            if count == -Int(EAGAIN) {
                source.pointee.isDrained = true
                return
            }
            if count > 0 {
                pipes[place].held = count
                continue
            }
            source.pointee.endOfInput = true
            if count < 0 {
                closePair(source)
                return
            }
        }
        queue(source)
    }
}
