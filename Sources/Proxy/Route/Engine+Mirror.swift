import Glibc
import Loop
import Wire

/// Bounds of what mirrors may cost. Times in nanoseconds.
enum MirrorLimits {
    /// Bytes of a body; requests with longer ones are not mirrored.
    static let body = 65536
    /// In flight in one loop.
    static let shadows = 256
    static let time = 15 * Limits.second
}

extension Engine {
    /// Draws which mirrors get a copy of the request just composed, and begins the copy.
    mutating func beginMirrors(_ client: Conn, _ upstream: Conn, _ arrays: TableView, _ mirrors: Run) {
        var drawn: UInt32 = 0
        for place in 0..<min(32, Int(mirrors.count)) {
            let share = arrays.pointee.routes.mirrors[Int(mirrors.start) + place].millionths
            if share >= 1_000_000 || chance.below(1_000_000) < share { drawn |= 1 << UInt32(place) }
        }
        if drawn == 0 || client.pointee.isUpgrade || parser.head.contentLength > MirrorLimits.body { return }
        guard let output = upstream.pointee.output else { return }
        let length = Int(upstream.pointee.outputEnd)
        let room = length + 64 + max(0, parser.head.contentLength)
        guard let sizeClass = BufferPool.sizeClass(for: room), !buffers.isShort else { return }
        let extras = extras(client)
        dropCopy(extras)
        extras.pointee.mirrors = drawn
        extras.pointee.copy = buffers.take(sizeClass)
        extras.pointee.copyClass = sizeClass
        extras.pointee.copyEnd = Int32(truncatingIfNeeded: copyHead(output, length, extras))
        if client.pointee.phase == .done { startShadows(client, extras) }
    }

    /// Copies a head with `-shadow` behind the host's name, before its port, and without what only the first peer is told.
    private func copyHead(_ head: Bytes, _ length: Int, _ extras: Extras) -> Int {
        guard let out = extras.pointee.copy else { return 0 }
        var at = 0
        var place = 0
        while place < length {
            guard let feed = memchr(head + place, 10, length - place) else { break }
            let end = UnsafeRawPointer(head).distance(to: UnsafeRawPointer(feed)) + 1
            let line = head + place
            let count = end - place
            place = end
            if count > 12 && sameName(line, StaticText.peerName.utf8Start, 12) { continue }
            // The body comes with the head.
            if count > 7 && line[6] == 58 && sameName(line, StaticText.expect.utf8Start, 6) { continue }
            let isHost = count > 7 && sameName(line, StaticText.hostName.utf8Start, 5)
            if !isHost {
                put(line, count, out, &at)
                continue
            }
            var name = count - 2
            while name > 5, line[name - 1] >= 48, line[name - 1] <= 57 { name -= 1 }
            if name == count - 2 || line[name - 1] != 58 || name - 1 <= 5 { name = count - 2 } else { name -= 1 }
            put(line, name, out, &at)
            put("-shadow", out, &at)
            put(line + name, count - name, out, &at)
        }
        return at
    }

    /// Adds what has just been sent of the body; the copies leave when it is whole.
    mutating func copyBody(_ client: Conn, _ bytes: UnsafePointer<UInt8>, _ count: Int) {
        guard let extras = client.pointee.extras, let copy = extras.pointee.copy else { return }
        let end = Int(extras.pointee.copyEnd)
        if client.pointee.requestBytes > MirrorLimits.body + HeadParser.longestHead {
            counts.mirrorsDropped += 1
            dropCopy(extras)
            return
        }
        if BufferPool.size(extras.pointee.copyClass) - end < count {
            guard let sizeClass = BufferPool.sizeClass(for: end + count), !buffers.isShort else {
                counts.mirrorsDropped += 1
                dropCopy(extras)
                return
            }
            let bigger = buffers.take(sizeClass)
            memcpy(bigger, copy, end)
            buffers.give(copy, extras.pointee.copyClass)
            extras.pointee.copy = bigger
            extras.pointee.copyClass = sizeClass
        }
        if let copy = extras.pointee.copy { memcpy(copy + end, bytes, count) }
        extras.pointee.copyEnd = Int32(truncatingIfNeeded: end + count)
        if client.pointee.phase == .done { startShadows(client, extras) }
    }

    private mutating func startShadows(_ client: Conn, _ extras: Extras) {
        guard let copy = extras.pointee.copy, let table = client.pointee.table else { return }
        let arrays = table.pointee.arrays
        let rule = arrays.pointee.rules[Int(client.pointee.choice.rule)]
        let mirrors = arrays.pointee.routes.actions[Int(rule.actions)].mirrors
        for place in 0..<min(32, Int(mirrors.count)) where extras.pointee.mirrors & 1 << UInt32(place) != 0 {
            let backend = arrays.pointee.routes.mirrors[Int(mirrors.start) + place].backend
            startShadow(client, table, backend, copy, Int(extras.pointee.copyEnd), extras.pointee.copyClass)
        }
        dropCopy(extras)
    }

    /// Sends a copy. Its client is a connection to nowhere, which takes and forgets the answer.
    private mutating func startShadow(
        _ client: Conn, _ table: UnsafeMutablePointer<LiveTable>, _ backend: Int32, _ copy: Bytes, _ length: Int,
        _ sizeClass: UInt8
    ) {
        if counts.shadows >= MirrorLimits.shadows {
            counts.mirrorsDropped += 1
            return
        }
        guard let shadow = open(Connection.nowhere, .client) else { return }
        counts.clients += 1
        counts.shadows += 1
        counts.exchanges += 1
        shadow.pointee.isShadow = true
        shadow.pointee.isDrained = true
        shadow.pointee.inExchange = true
        shadow.pointee.side = client.pointee.side
        shadow.pointee.listener = client.pointee.listener
        shadow.pointee.remoteAddress = client.pointee.remoteAddress
        shadow.pointee.mode = .http
        shadow.pointee.phase = .done
        shadow.pointee.stage = .send
        shadow.pointee.startedAt = now
        shadow.pointee.isHead = client.pointee.isHead
        shadow.pointee.isGRPC = client.pointee.isGRPC
        shadow.pointee.flag = .mirrored
        shadow.pointee.requestBytes = length
        shadow.pointee.backend = backend
        shadow.pointee.choice.backend = backend
        shadow.pointee.service = table.pointee.arrays.pointee.backends[Int(backend)].label
        shadow.pointee.table = table
        table.pointee.users += 1
        blankDraft(shadow)
        let slot = pickEndpoint(table, backend, for: shadow)
        if slot < 0 {
            endShadow(shadow)
            return
        }
        let generation = shadow.pointee.generation
        guard let upstream = acquire(shadow, slot, fresh: false) else {
            // A copy does not wait for a connection.
            if shadow.pointee.generation == generation { endShadow(shadow) }
            return
        }
        shadow.pointee.peerLabels = endpoints[Int(upstream.pointee.endpoint)].labels
        let output = buffers.take(sizeClass)
        memcpy(output, copy, length)
        upstream.pointee.output = output
        upstream.pointee.outputClass = sizeClass
        upstream.pointee.outputStart = 0
        upstream.pointee.outputEnd = Int32(truncatingIfNeeded: length)
        shadow.pointee.hasTimeout = true
        setDeadline(shadow, after: MirrorLimits.time)
        _ = pump(shadow, upstream)
    }

    /// A copy's exchange is over, well or not: nobody is told. An errand's ends as it failed.
    mutating func endShadow(
        _ shadow: Conn, _ flag: ResponseFlag = .mirrored, status: Int = 0, _ reason: StaticString = ""
    ) {
        let isErrand = shadow.pointee.asker != 0
        shadow.pointee.flag = isErrand ? flag : .mirrored
        if isErrand {
            shadow.pointee.status = UInt16(truncatingIfNeeded: status)
            draft(shadow).pointee.reason = reason
        }
        endExchange(shadow)
        close(shadow)
    }
}
