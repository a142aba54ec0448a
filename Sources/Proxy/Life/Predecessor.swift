import Glibc
import Loop

/// The process that started this one to take over from it, or that holds its number.
enum Predecessor {
    private static var channel: CInt? {
        guard let text = getenv(Successor.variable), let number = CInt(String(cString: text)), number > 2 else {
            return nil
        }
        return number
    }

    /// Whether there is one.
    static var holds: Bool { channel != nil }

    /// Tells when this process is ready, and does what the other end of the channel asks from then on.
    static func listen(_ program: Program) {
        guard let channel else { return }
        _ = fcntl(channel, F_SETFD, FD_CLOEXEC)
        _ = Thread.start("handover") {
            while !program.isServing { usleep(2000) }
            program.closeUnclaimed()
            _ = Channel.send(channel, "ready")
            while let message = Channel.receive(channel, within: nil) {
                switch message.text {
                case "sockets":
                    let sockets = program.sockets()
                    let names = sockets.map(\.name).joined(separator: ":")
                    _ = Channel.send(channel, names, sockets.map(\.descriptor))
                case "leave":
                    program.leave()
                    let limit = Clock.monotonic + UInt64(program.options.handoverSeconds) * 1_000_000_000
                    while !program.hasLeft(by: limit) { usleep(100_000) }
                    exit(0)
                default: break
                }
            }
            // Whoever looked after this process is gone, and nobody would know of it.
            log("the process that started this one is gone", level: "error")
            kill(getpid(), SIGTERM)
        }
    }
}

extension Program {
    /// Ready, and each loop follows the configuration.
    var isServing: Bool {
        let generation = state.read { $0.generation }
        return state.isReady && plane.counts().allSatisfy { $0.generation >= generation }
    }

    /// All listening sockets, named for the next process, which starts with the configuration it finds on the disk.
    func sockets() -> [(name: String, descriptor: CInt)] {
        state.save()
        var found = plane.sockets()
        let known = Set(found.map(\.name))
        found += doors.filter { !known.contains($0.name) }
        return found
    }

    /// The next process accepts from now on; connections here end with their next answer.
    func leave() {
        plane.stopAccepting()
        state.ringFarewell()
        plane.drain()
    }

    /// Whether all connections have ended, or are ended now since the time is over.
    func hasLeft(by limit: UInt64) -> Bool {
        let isOver = Clock.monotonic >= limit
        if !isOver && !plane.isQuiet({ $0.clients == 0 }) { return false }
        plane.stop()
        return true
    }

    /// Sockets that were handed on for listeners the configuration does not have any more.
    func closeUnclaimed() {
        let claimed = Set(plane.sockets().map(\.descriptor))
        for (name, descriptor) in inherited where HandedSockets.isLoops(name) && !claimed.contains(descriptor) {
            close(descriptor)
        }
    }

    private var plane: DataPlane { state.plane }
}
