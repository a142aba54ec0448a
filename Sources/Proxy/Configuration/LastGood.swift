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
        do { try SmallFile.replace(path, with: Array(text.utf8), mode: 0o600) } catch {
            log("the last good configuration was not kept: \(error)", level: "warning")
        }
    }

    func load() -> (
        configuration: ProxyConfiguration, identity: Identity?, versions: [ProxyResource.Kind: [String: String]]
    )? {
        guard access(path, R_OK) == 0, let bytes = try? SmallFile.read(path), let json = try? JSON(parsing: bytes)
        else { return nil }
        var workload: Workload? = nil
        var identity: Identity? = nil
        var versions: [ProxyResource.Kind: [String: String]] = [:]
        var ports: [String: ServicePort] = [:]
        var backends: [String: Backend] = [:]
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
            }
        }
        guard let workload else { return nil }
        return (ProxyConfiguration(workload: workload, servicePorts: ports, backends: backends), identity, versions)
    }
}
