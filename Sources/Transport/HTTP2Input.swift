import NIOCore
import Wire

/// What a client has sent and nobody has taken yet: the preface, then frames, in pieces of any size (RFC 9113 §3.4, §4.1).
struct HTTP2Input {
    enum Step {
        /// The payload with its padding.
        case frame(FrameHeader, ByteBuffer)
        /// What comes next is not whole yet.
        case more
        case tooLarge
        case notHTTP2
    }

    private let largestFrame: Int
    private var bytes = ByteBuffer()
    private var hasPreface = false

    init(largestFrame: Int) { self.largestFrame = largestFrame }

    mutating func take(_ more: ByteBuffer) {
        if bytes.readableBytes == 0 {
            bytes = more
        } else {
            var more = more
            bytes.writeBuffer(&more)
        }
    }

    mutating func next() -> Step {
        if !hasPreface {
            guard isPrefacePossible else { return .notHTTP2 }
            guard bytes.readableBytes >= FrameHeader.preface.count else { return .more }
            bytes.moveReaderIndex(forwardBy: FrameHeader.preface.count)
            hasPreface = true
        }
        guard let header = header() else {
            // What was read is not kept for the sake of an empty rest.
            if bytes.readableBytes == 0 { bytes = ByteBuffer() }
            return .more
        }
        guard header.length <= largestFrame else { return .tooLarge }
        guard bytes.readableBytes >= FrameHeader.size + header.length else { return .more }
        bytes.moveReaderIndex(forwardBy: FrameHeader.size)
        guard let payload = bytes.readSlice(length: header.length) else { return .more }
        return .frame(header, payload)
    }

    private var isPrefacePossible: Bool {
        let count = min(bytes.readableBytes, FrameHeader.preface.count)
        return bytes.readableBytesView.prefix(count).elementsEqual(FrameHeader.preface.prefix(count))
    }

    private func header() -> FrameHeader? {
        bytes.withUnsafeReadableBytes { bytes -> FrameHeader? in
            guard bytes.count >= FrameHeader.size else { return nil }
            var header = FrameHeader(length: 0, kind: .data)
            header.length = Int(bytes[0]) << 16 | Int(bytes[1]) << 8 | Int(bytes[2])
            header.kind = bytes[3]
            header.flags = bytes[4]
            let stream = UInt32(bytes[5]) << 24 | UInt32(bytes[6]) << 16 | UInt32(bytes[7]) << 8 | UInt32(bytes[8])
            header.stream = stream & 0x7FFF_FFFF
            return header
        }
    }
}

extension FrameHeader {
    /// The payload without its padding and the priority of old (RFC 9113 §6.1, §6.2); `nil` where they do not fit into it.
    func content(of payload: ByteBuffer, mayHavePriority: Bool) -> ByteBuffer? {
        var payload = payload
        var padding = 0
        if flags & FrameFlag.padded != 0 {
            guard let count = payload.readInteger(as: UInt8.self) else { return nil }
            padding = Int(count)
        }
        if mayHavePriority, flags & FrameFlag.priority != 0 {
            guard payload.readableBytes >= 5 else { return nil }
            payload.moveReaderIndex(forwardBy: 5)
        }
        guard payload.readableBytes >= padding else { return nil }
        payload.moveWriterIndex(to: payload.writerIndex - padding)
        return payload
    }
}
