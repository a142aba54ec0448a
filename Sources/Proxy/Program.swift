import Glibc
import Kernel
import Loop
import ProxyResources

/// How a proxy is started.
package struct ProgramOptions: Sendable {
    package enum Role: String, Sendable { case sidecar, gateway, run }
    package var role: Role
    package var concurrency = 0
    package var meshSocket = "/var/run/weft/mesh/mesh.sock"
    package var configFile: String?
    /// Where the last good configuration is kept; empty for nowhere.
    package var stateDirectory = "/tmp/weft-proxy"
    package var outboundPort = 15001
    package var inboundPort = 15006
    package var healthPort = 15021
    package var metricsPort = 15090
    package var adminPort = 15000
    package var dnsPort = 15053
    /// How long after SIGTERM the proxy serves at least, and at most, in seconds.
    package var drainSeconds = 2
    package var drainLimitSeconds = 25
    /// The most memory for connections' buffers, in MiB; 0 for half of the container's memory limit, if it has one.
    package var bufferMegabytes = 0
    /// How long connections may last in a process that another has taken over from.
    package var handoverSeconds = 600

    package init(role: Role) { self.role = role }
}

/// One proxy: its loops and the threads beside them.
package final class Program: Sendable {
    package let options: ProgramOptions
    package let state: ProgramState
    private let follower: FileFollower?
    /// Sockets this process was given, and those its own pages and name server listen at.
    let inherited: [String: CInt]
    let doors: [(name: String, descriptor: CInt)]

    /// Opens all listeners and starts all threads.
    package init(_ given: ProgramOptions) throws {
        CryptoMemory.use()
        var options = given
        ContainerShare.raiseDescriptorLimit()
        let loops = options.concurrency > 0 ? options.concurrency : ContainerShare.usableLoops()
        let inherited = InheritedDescriptors.take()
        var listeners: [ListenerOption] = []
        var follower: FileFollower? = nil
        switch options.role {
        case .sidecar:
            listeners.append(ListenerOption(side: .outbound, port: options.outboundPort))
            listeners.append(ListenerOption(side: .inbound, port: options.inboundPort))
        case .gateway: break
        case .run:
            guard let path = options.configFile else { throw ConfigurationFault("run needs --config FILE") }
            let file = try ConfigurationFile(reading: path)
            try file.checkListeners(besides: [], inherited: Set(inherited.keys))
            listeners = file.listeners
            options.take(file.doors)
            follower = FileFollower(path, file)
        }
        let plane = try DataPlane(
            loops: loops, listeners: listeners, inherited: inherited,
            bufferBytes: options.bufferMegabytes > 0 ? options.bufferMegabytes << 20 : ContainerShare.bufferBytes())
        let keeper = options.role == .run ? nil : LastGood(directory: options.stateDirectory)
        state = ProgramState(
            plane: plane, role: options.role.rawValue, keeper: keeper, inheritedNames: Set(inherited.keys))
        self.options = options
        self.follower = follower
        if let follower {
            try follower.begin(state)
        } else {
            state.restore()
            QuotaClient.start(socket: options.meshSocket, book: plane.limits)
            DiscoveryClient.start(socket: options.meshSocket, state: state)
        }
        self.inherited = inherited
        var doors = try AdminServer.start(state: state, options: options, handed: inherited)
        if options.role == .sidecar && options.dnsPort > 0 {
            doors += try NameServer.start(port: options.dnsPort, state: state, handed: inherited)
        }
        doors += inherited.filter { !HandedSockets.isLoops($0.key) && !$0.key.contains("/") }.map { ($0.key, $0.value) }
        self.doors = doors
        if let follower { FileWatch.start(follower) }
        StartPages.giveBackLater()
        log("meshproxy \(options.role.rawValue) started with \(loops) loop\(loops == 1 ? "" : "s")")
    }

    /// Reads the configuration file again; what it says now is taken whole or not at all.
    package func reload() { follower?.reload() }

    /// Takes its leave: not ready, responses close their connections, and the end when nothing is in flight or the time is over.
    package func drain() {
        state.beginDraining()
        state.plane.drain()
        let start = Clock.monotonic
        let least = start + UInt64(options.drainSeconds) * 1_000_000_000
        let most = start + UInt64(max(options.drainSeconds, options.drainLimitSeconds)) * 1_000_000_000
        while true {
            usleep(100_000)
            let now = Clock.monotonic
            if now >= most { break }
            if now < least { continue }
            if isFinished { break }
        }
        // Connections that came until now are still served.
        state.plane.stopAccepting()
        let last = min(most, Clock.monotonic + 1_000_000_000)
        repeat { usleep(50_000) } while !isFinished && Clock.monotonic < last
        state.plane.stop()
    }

    private var isFinished: Bool {
        state.plane.isQuiet { $0.exchanges == 0 && $0.unfinished == 0 }
    }
}

/// Sockets passed in, as systemd does it: descriptors from 3 on, named in LISTEN_FDNAMES.
enum InheritedDescriptors {
    static func take() -> [String: CInt] {
        guard let text = getenv("LISTEN_FDS"), let count = Int(String(cString: text)), count > 0, count < 1024 else {
            return [:]
        }
        if let owner = getenv("LISTEN_PID"), let pid = Int32(String(cString: owner)), pid != getpid() { return [:] }
        let names = getenv("LISTEN_FDNAMES").map {
            String(cString: $0).split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        }
        var found: [String: CInt] = [:]
        for place in 0..<count {
            let descriptor = CInt(3 + place)
            let flags = fcntl(descriptor, F_GETFL)
            if flags < 0 { continue }
            _ = fcntl(descriptor, F_SETFL, flags | O_NONBLOCK)
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            let name = names.flatMap { place < $0.count ? $0[place] : nil } ?? "fd\(place)"
            found[name] = descriptor
        }
        return found
    }
}
