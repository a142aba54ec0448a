import ClusterLayout
import Glibc
import Kernel
import Wire

/// What a cluster was started with, kept so that the next start finds the same nodes and ports.
struct ClusterSettings: Hashable {
    var nodes = 1
    var apiPort = 6443
    var gatewayPort = 8080
    var storage = StorageSettings()
    var apiServer = APIServerFlags()

    static func load(_ layout: ClusterLayout) throws -> ClusterSettings? {
        guard access(layout.settingsFile, F_OK) == 0 else { return nil }
        let json: JSON
        do { json = try JSON(parsing: try SmallFile.read(layout.settingsFile)) } catch let fault as JSONFault {
            throw Unreadable(path: layout.settingsFile, fault: fault)
        }
        var settings = ClusterSettings()
        settings.nodes = json["nodes"]?.int ?? settings.nodes
        settings.apiPort = json["apiPort"]?.int ?? settings.apiPort
        settings.gatewayPort = json["gatewayPort"]?.int ?? settings.gatewayPort
        settings.storage = StorageSettings(json["storage"] ?? [:])
        settings.apiServer = APIServerFlags(json["apiServer"] ?? [:])
        return settings
    }

    func save(_ layout: ClusterLayout) throws {
        var json: JSON = [
            "nodes": .int(Int64(nodes)), "apiPort": .int(Int64(apiPort)), "gatewayPort": .int(Int64(gatewayPort)),
        ]
        if storage != StorageSettings() { json["storage"] = storage.json }
        if !apiServer.isEmpty { json["apiServer"] = apiServer.json }
        try SmallFile.replace(layout.settingsFile, with: json.bytes)
    }

    static func restore(_ settings: ClusterSettings?, _ layout: ClusterLayout) throws {
        if let settings { try settings.save(layout) } else { _ = unlink(layout.settingsFile) }
    }

    struct Unreadable: Error, CustomStringConvertible {
        let path: String
        let fault: JSONFault
        var description: String { "\(path) is not what meshd wrote: \(fault); remove it to start with new settings" }
    }
}
