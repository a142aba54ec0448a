import ProxyResources
import Wire

/// A DeltaDiscoveryRequest (envoy.service.discovery.v3).
struct DiscoveryRequest {
    var node = ""
    var kind: ProxyResource.Kind
    var subscribe: [String] = []
    var unsubscribe: [String] = []
    /// On a new stream: what we hold already, so that only differences come.
    var versions: [String: String] = [:]
    var nonce = ""
    /// With a nonce, refuses the response.
    var fault: String?

    var bytes: [UInt8] {
        var writer = ProtobufWriter()
        if !node.isEmpty { writer.message(1) { $0.string(1, node) } }
        writer.string(2, kind.rawValue)
        for name in subscribe { writer.string(3, name) }
        for name in unsubscribe { writer.string(4, name) }
        for (name, version) in versions.sorted(by: { $0.key < $1.key }) {
            writer.stringEntry(5, key: name, value: version)
        }
        if !nonce.isEmpty { writer.string(6, nonce) }
        if let fault {
            writer.message(7) {
                $0.int32(1, 3)  // INVALID_ARGUMENT
                $0.string(2, fault)
            }
        }
        return writer.bytes
    }
}

/// A DeltaDiscoveryResponse.
struct DiscoveryResponse {
    struct Resource {
        var name = ""
        var version = ""
        var value: [UInt8] = []
    }
    var kind = ""
    var nonce = ""
    var resources: [Resource] = []
    var removed: [String] = []

    init(_ bytes: [UInt8]) throws(ProtobufFault) {
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 2:
                var inner = try reader.message(tag)
                resources.append(try Self.resource(&inner))
            case 4: kind = try reader.string(tag)
            case 5: nonce = try reader.string(tag)
            case 6: removed.append(try reader.string(tag))
            default: try reader.skip(tag)
            }
        }
    }

    private static func resource(_ reader: inout ProtobufReader) throws(ProtobufFault) -> Resource {
        var found = Resource()
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: found.version = try reader.string(tag)
            case 2:
                var any = try reader.message(tag)
                while let tag = try any.nextTag() {
                    if tag.field == 2 { found.value = Array(try any.bytes(tag)) } else { try any.skip(tag) }
                }
            case 3: found.name = try reader.string(tag)
            default: try reader.skip(tag)
            }
        }
        return found
    }
}
