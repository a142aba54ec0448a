import Glibc
import Loop
import Wire

extension Engine {
    /// First step of a graceful end (RFC 9113 §6.8): the client learns to open no more streams, while those on their way are taken.
    mutating func announceGoAway(_ connection: Conn, _ session: UnsafeMutablePointer<Session>) {
        guard session.pointee.isServer, session.pointee.goingAway == .no else { return }
        session.pointee.goingAway = .announced
        putControl(connection, .goAway, 0, 0, 0x7FFF_FFFF, FrameError.none.rawValue, 2)
        // Its acknowledgement tells that the client has seen the first.
        putControl(connection, .ping, 0, 0, StreamPing.goAway, 0, 2)
        setDeadline(connection, after: StreamLimits.goAwayPause)
    }

    /// Second step: which streams are still served. When they have ended, so does the session.
    mutating func finishGoAway(_ connection: Conn, _ session: UnsafeMutablePointer<Session>) {
        guard session.pointee.goingAway == .announced else { return }
        session.pointee.goingAway = .final
        putControl(connection, .goAway, 0, 0, session.pointee.lastPeerStream, FrameError.none.rawValue, 2)
        setDeadline(connection, after: Limits.idleExchange)
    }

    /// The loop drains: every client's session is told.
    mutating func drainSessions() {
        for place in 0..<Int(top) {
            let connection = slab + place
            guard connection.pointee.role == .client, let session = connection.pointee.session else { continue }
            announceGoAway(connection, session)
        }
    }

    /// A session's deadline: it has been silent, or idle, or owes us something.
    mutating func sessionDeadline(_ connection: Conn, _ session: UnsafeMutablePointer<Session>) {
        if !session.pointee.isReady {
            close(connection)
            return
        }
        if session.pointee.block != nil || !session.pointee.sawSettings {
            failSession(connection, session.pointee.block != nil ? .brokenHeaderBlock : .noSettings)
            return
        }
        switch session.pointee.goingAway {
        case .announced:
            finishGoAway(connection, session)
            return
        case .final:
            failSession(connection, .drained)
            return
        case .no: break
        }
        if session.pointee.partialSince > 0 && now &- session.pointee.partialSince >= clientGrant.head {
            failSession(connection, .slowFrame)
            return
        }
        let quiet = now &- session.pointee.lastFrameAt
        if session.pointee.pingAt > session.pointee.lastFrameAt {
            failSession(connection, .silent)
            return
        }
        if session.pointee.open == 0 {
            let patience = session.pointee.isServer ? idlePatience : StreamLimits.idleSession
            if quiet >= patience {
                failSession(connection, .idle)
            } else {
                setDeadline(connection, after: min(patience &- quiet, StreamLimits.silence))
            }
            return
        }
        if quiet < StreamLimits.silence {
            setDeadline(connection, after: StreamLimits.silence &- quiet)
            return
        }
        session.pointee.pingAt = now
        putControl(connection, .ping, 0, 0, StreamPing.alive, 0, 2)
        setDeadline(connection, after: StreamLimits.pingAnswer)
    }

    /// There is no more room for connections: a session on which nothing happens, or never did, ends at once. False when it goes on.
    mutating func shedSession(_ connection: Conn, _ session: UnsafeMutablePointer<Session>) -> Bool {
        // One that has just spoken, or just been served, keeps its place for a second.
        if session.pointee.open > 0 || session.pointee.lastFrameAt &+ Limits.second > now { return false }
        counts.sessionFaults[Int(SessionFault.idle.rawValue)] += 1
        putControl(connection, .goAway, 0, 0, session.pointee.lastPeerStream, FrameError.none.rawValue, 2)
        if connection.pointee.canWrite { _ = flush(connection) }
        close(connection)
        return true
    }

    /// The peer ends the session: streams above `last` were not worked on and may go elsewhere (RFC 9113 §6.8).
    mutating func goAwayFrame(
        _ connection: Conn, _ session: UnsafeMutablePointer<Session>, _ payload: UnsafePointer<UInt8>, _ length: Int
    ) -> SessionFault? {
        if length < 8 { return .badFrameSize }
        let last = Frames.word(payload) & 0x7FFF_FFFF
        session.pointee.peerLeaves = true
        if last > session.pointee.peerLast { return .unexpectedFrame }
        session.pointee.peerLast = last
        if session.pointee.isServer { return nil }
        unlinkSession(connection)
        var keys: [UInt64] = []
        session.pointee.streams.forEach { id, place in
            if id > last { keys.append(key(slab + Int(place))) }
        }
        for key in keys {
            guard let stream = find(key) else { continue }
            state(stream).pointee.isReset = true
            state(stream).pointee.resetCode = .refusedStream
            queue(stream)
        }
        queue(connection)
        return nil
    }
}

/// What our PINGs carry, to tell their answers apart.
enum StreamPing {
    static let goAway: UInt32 = 0x7765_6601
    static let alive: UInt32 = 0x7765_6602
}
