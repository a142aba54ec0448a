import CKernel
import Glibc
import Loop
import ProxyResources
import Synchronization

/// Follows a standalone proxy's configuration file: what it says is taken whole or not at all.
final class FileFollower: Sendable {
    private struct Held {
        var file: ConfigurationFile
        var state: ProgramState? = nil
        var fault = ""
    }

    let path: String
    private let held: Mutex<Held>

    init(_ path: String, _ file: ConfigurationFile) {
        self.path = path
        held = Mutex(Held(file: file))
    }

    /// The file itself and those it takes text from.
    var files: [String] { held.withLock { [path] + $0.file.sources } }

    func begin(_ state: ProgramState) throws {
        try held.withLock { held in
            try state.apply(held.file.configuration, identity: held.file.identity, versions: [:])
            held.state = state
        }
    }

    /// Reads the file again. A file that cannot be taken changes nothing and is told of once.
    func reload() {
        held.withLock { held in
            guard let state = held.state else { return }
            do {
                let file = try ConfigurationFile(reading: path)
                if file == held.file && held.fault.isEmpty { return }
                try file.checkChange(from: held.file)
                try file.checkListeners(
                    besides: held.file.configuration.workload.gatewayListeners, inherited: state.inheritedNames)
                try state.apply(file.configuration, identity: file.identity, versions: [:])
                held.file = file
                held.fault = ""
                state.note(fault: "")
                log("\(path): taken: \(file.summary)")
            } catch {
                let fault = "\(error)"
                if fault == held.fault { return }
                held.fault = fault
                state.note(fault: fault)
                log("\(fault); what was taken before stays", level: "error")
            }
        }
    }
}

extension ConfigurationFile {
    /// What cannot change while the proxy runs.
    func checkChange(from old: ConfigurationFile) throws(ConfigurationFault) {
        if listeners != old.listeners {
            throw ConfigurationFault("listeners with a side cannot change while the proxy runs; start it again")
        }
        if doors != old.doors {
            throw ConfigurationFault("admin, health and metrics cannot change while the proxy runs; start it again")
        }
    }

    /// Whether the listeners that are new can have their ports.
    func checkListeners(besides open: [GatewayListener], inherited: Set<String>) throws(ConfigurationFault) {
        for listener in configuration.workload.gatewayListeners {
            if !listener.inherited.isEmpty && inherited.contains(listener.inherited) { continue }
            if open.contains(where: { $0.port == listener.port && $0.address == listener.address }) { continue }
            let address = IPv4(listener.address)?.value ?? 0
            let code = weft_try_ipv4(address, UInt16(clamping: listener.port))
            if code < 0 {
                let place = "\(listener.address.isEmpty ? "0.0.0.0" : listener.address):\(listener.port)"
                throw ConfigurationFault("listener \(listener.name): \(place): \(String(cString: strerror(-code)))")
            }
        }
    }

    /// `2 listeners, 3 routes, 4 clusters`
    package var summary: String {
        let gateways = configuration.workload.gatewayListeners
        // A route stands under each of its hosts.
        let routes = gateways.map { Set($0.routes.flatMap(\.rules)).count }.reduce(0, +)
        func count(_ number: Int, _ word: String) -> String { "\(number) \(word)\(number == 1 ? "" : "s")" }
        return [
            count(gateways.count + listeners.count, "listener"), count(routes, "route"),
            count(configuration.backends.count, "cluster"),
        ].joined(separator: ", ")
    }
}

extension ProgramOptions {
    /// The command line's ports come first.
    mutating func take(_ doors: StandaloneFile.Doors) {
        if adminPort == 0 { adminPort = doors.adminPort }
        if healthPort == 0 { healthPort = doors.healthPort }
        if metricsPort == 0 { metricsPort = doors.metricsPort }
    }
}
