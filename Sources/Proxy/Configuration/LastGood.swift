import Glibc
import Kernel
import ProxyResources
import Wire

/// The last configuration that worked, in a file only this user can read, for a proxy restarted while the control plane is away.
struct LastGood: Sendable {
    let path: String

    init?(directory: String) {
        if directory.isEmpty { return nil }
        do { try SmallFile.makeDirectories(directory, mode: 0o700) } catch {
            log("the last good configuration will not be kept: \(error)", level: "warning")
            return nil
        }
        path = directory + "/configuration.json"
    }

    func save(
        _ configuration: ProxyConfiguration, identity: Identity?, versions: [ProxyResource.Kind: [String: String]]
    ) {
        var resources: [JSON] = []
        var all = configuration.resources
        if let identity { all.append(.identity(identity)) }
        for resource in all {
            var entry = JSONObject()
            entry["kind"] = .string(resource.kind.rawValue)
            entry["name"] = .string(resource.name)
            entry["version"] = .string(versions[resource.kind]?[resource.name] ?? "")
            entry["value"] = resource.json
            resources.append(.object(entry))
        }
        let text = JSON.object(JSONObject([.init("resources", .array(resources))])).text
        let bytes = Array(text.utf8)
        // In front of the text stands its sum: a disk, or a hand, may change a file in ways that still read as JSON.
        let whole = Array("\(Self.sum(bytes))\n".utf8) + bytes
        do { try SmallFile.replace(path, with: whole, mode: 0o600) } catch {
            log("the last good configuration was not kept: \(error)", level: "warning")
        }
    }

    private static let mostBytes = 256 << 20

    /// FNV-1a, in hexadecimal.
    private static func sum(_ bytes: some Sequence<UInt8>) -> String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return String(hash, radix: 16)
    }

    /// What was kept; nil when there is nothing, or not all of what was written.
    func load() -> (
        configuration: ProxyConfiguration, identity: Identity?, versions: [ProxyResource.Kind: [String: String]]
    )? {
        guard access(path, R_OK) == 0 else { return nil }
        guard let bytes = try? SmallFile.read(path, limit: Self.mostBytes), let end = bytes.firstIndex(of: 10),
            String(decoding: bytes[..<end], as: UTF8.self) == Self.sum(bytes[(end + 1)...]),
            let json = try? JSON(parsing: Array(bytes[(end + 1)...])), let kept = Self.decode(json)
        else {
            log("\(path) is not as it was written: this proxy waits for the control plane", level: "warning")
            return nil
        }
        return kept
    }

    private static func decode(_ json: JSON) -> (
        configuration: ProxyConfiguration, identity: Identity?, versions: [ProxyResource.Kind: [String: String]]
    )? {
        var workload: Workload? = nil
        var identity: Identity? = nil
        var versions: [ProxyResource.Kind: [String: String]] = [:]
        var ports: [String: ServicePort] = [:]
        var backends: [String: Backend] = [:]
        var destinations: [String: Destination] = [:]
        for entry in json["resources"]?.array ?? [] {
            guard let kind = entry["kind"]?.string.flatMap(ProxyResource.Kind.init(rawValue:)),
                let name = entry["name"]?.string,
                let value = entry["value"],
                let resource = try? ProxyResource.decode(kind: kind, name: name, bytes: Array(value.text.utf8))
            else { return nil }
            versions[kind, default: [:]][name] = entry["version"]?.string ?? ""
            switch resource {
            case .workload(let value): workload = value
            case .identity(let value): identity = value
            case .servicePort(let value): ports[name] = value
            case .backend(let value): backends[name] = value
            case .destination(let value): destinations[name] = value
            }
        }
        guard let workload else { return nil }
        let configuration = ProxyConfiguration(
            workload: workload, servicePorts: ports, backends: backends, destinations: destinations)
        return (configuration, identity, versions)
    }
}
