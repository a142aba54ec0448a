import Glibc
import Loop
import Wire

extension Engine {
    mutating func settingsFrame(
        _ connection: Conn, _ session: UnsafeMutablePointer<Session>, _ flags: UInt8, _ id: UInt32,
        _ payload: UnsafePointer<UInt8>, _ length: Int
    ) -> SessionFault? {
        if id != 0 { return .badStream }
        if flags & FrameFlag.acknowledged != 0 { return length == 0 ? nil : .badFrameSize }
        if length % 6 != 0 { return .badFrameSize }
        if !session.pointee.flood.spend(.settings, now: now) { return .settingsFlood }
        let isFirst = !session.pointee.sawSettings
        session.pointee.sawSettings = true
        var place = 0
        while place < length {
            let key = UInt16(payload[place]) << 8 | UInt16(payload[place + 1])
            if let fault = setting(session, key, Frames.word(payload + place + 2)) { return fault }
            place += 6
        }
        putControl(connection, .settings, FrameFlag.acknowledged, 0, 0, 0, 0)
        if isFirst { setDeadline(connection, after: StreamLimits.silence) }
        return nil
    }

    private mutating func setting(_ session: UnsafeMutablePointer<Session>, _ key: UInt16, _ value: UInt32)
        -> SessionFault?
    {
        switch key {
        case Setting.headerTableSize: session.pointee.encoder.setPeerLimit(Int(value))
        case Setting.enablePush: if value > 1 || (value == 1 && !session.pointee.isServer) { return .badSettings }
        case Setting.concurrentStreams: session.pointee.peerStreams = Int32(clamping: value)
        case Setting.initialWindow:
            guard let window = Int32(exactly: value) else { return .windowOverflow }
            return widenStreams(session, by: Int(window) - Int(session.pointee.peerWindow), to: window)
        case Setting.frameSize:
            if value < 16384 || value > 0xFF_FFFF { return .badSettings }
            // Larger frames would only make streams wait longer for each other.
            session.pointee.peerFrameSize = StreamLimits.frameSize
        case Setting.connectProtocol:
            if value > 1 { return .badSettings }
            session.pointee.takesProtocols = value == 1
        default: break
        }
        return nil
    }

    /// A new initial window moves that of every open stream (RFC 9113 §6.9.2).
    private mutating func widenStreams(_ session: UnsafeMutablePointer<Session>, by change: Int, to window: Int32)
        -> SessionFault?
    {
        session.pointee.peerWindow = window
        if change == 0 { return nil }
        var overflows = false
        var woken: [UInt64] = []
        session.pointee.streams.forEach { _, place in
            let stream = slab + Int(place)
            let moved = Int(state(stream).pointee.sendWindow) + change
            guard let moved = Int32(exactly: moved) else {
                overflows = true
                return
            }
            state(stream).pointee.sendWindow = moved
            if change > 0 { woken.append(key(stream)) }
        }
        for key in woken { if let stream = find(key) { queue(stream) } }
        return overflows ? .windowOverflow : nil
    }

    mutating func pingFrame(
        _ connection: Conn, _ session: UnsafeMutablePointer<Session>, _ flags: UInt8, _ id: UInt32,
        _ payload: UnsafePointer<UInt8>, _ length: Int
    ) -> SessionFault? {
        if id != 0 { return .badStream }
        if length != 8 { return .badFrameSize }
        if flags & FrameFlag.acknowledged != 0 {
            if Frames.word(payload) == StreamPing.goAway { finishGoAway(connection, session) }
            return nil
        }
        if !session.pointee.flood.spend(.ping, now: now) { return .pingFlood }
        putControl(
            connection, .ping, FrameFlag.acknowledged, 0, Frames.word(payload), Frames.word(payload + 4), 2)
        return nil
    }

    mutating func windowFrame(
        _ connection: Conn, _ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ payload: UnsafePointer<UInt8>,
        _ length: Int
    ) -> SessionFault? {
        if length != 4 { return .badFrameSize }
        if !session.pointee.flood.spend(.control, now: now) { return .controlFlood }
        let increment = Frames.word(payload) & 0x7FFF_FFFF
        if id == 0 {
            if increment == 0 { return .badWindowUpdate }
            guard let window = widened(session.pointee.sendWindow, by: increment) else { return .windowOverflow }
            session.pointee.sendWindow = window
            if !session.pointee.waiting.isEmpty { queue(connection) }
            return nil
        }
        guard let stream = stream(session, id) else { return isUnused(session, id) ? .badStream : nil }
        guard increment > 0, let window = widened(Int(state(stream).pointee.sendWindow), by: increment) else {
            return breakStream(stream, increment == 0 ? .protocolError : .flowControl)
        }
        state(stream).pointee.sendWindow = Int32(truncatingIfNeeded: window)
        queue(stream)
        return nil
    }

    mutating func resetFrame(
        _ connection: Conn, _ session: UnsafeMutablePointer<Session>, _ id: UInt32, _ payload: UnsafePointer<UInt8>,
        _ length: Int
    ) -> SessionFault? {
        if id == 0 { return .badStream }
        if length != 4 { return .badFrameSize }
        guard let stream = stream(session, id) else {
            if isUnused(session, id) { return .badStream }
            return session.pointee.flood.spend(.control, now: now) ? nil : .controlFlood
        }
        if session.pointee.isServer && !session.pointee.flood.spend(.reset, now: now) { return .resetFlood }
        state(stream).pointee.isReset = true
        state(stream).pointee.isPeerReset = true
        state(stream).pointee.resetCode = FrameError(rawValue: Frames.word(payload)) ?? .internalError
        queue(stream)
        return nil
    }

    /// The peer breaks a rule that concerns one stream: it is reset, and what hangs on it ends at the stream's turn.
    mutating func breakStream(_ stream: Conn, _ code: FrameError) -> SessionFault? {
        if state(stream).pointee.isReset { return nil }
        guard let carrier = stream.pointee.carrier, let session = carrier.pointee.session else { return nil }
        if session.pointee.isServer && !session.pointee.flood.spend(.reset, now: now) { return .resetFlood }
        putControl(carrier, .resetStream, 0, state(stream).pointee.id, code.rawValue, 0, 1)
        state(stream).pointee.isReset = true
        state(stream).pointee.resetCode = code
        queue(stream)
        return nil
    }
}
