package import Wire

/// A `DeltaDiscoveryRequest`, as far as we read it.
package struct DeltaRequest: Sendable, Hashable {
    package var node = ""
    package var typeURL = ""
    package var subscribe: [String] = []
    package var unsubscribe: [String] = []
    package var initialVersions: [String: String] = [:]
    package var responseNonce = ""
    package var errorDetail: DeltaError?

    package init() {}
}

/// A `google.rpc.Status`.
package struct DeltaError: Sendable, Hashable {
    package var code: Int32 = 0
    package var message = ""
    package init(code: Int32 = 0, message: String = "") {
        self.code = code
        self.message = message
    }
}

/// A resource as the wire carries it.
package struct VersionedResource: Sendable, Hashable {
    package var name: String
    package var version: String
    package var value: [UInt8]

    package init(name: String, version: String, value: [UInt8]) {
        self.name = name
        self.version = version
        self.value = value
    }
}

/// A `DeltaDiscoveryResponse`.
package struct DeltaResponse: Sendable, Hashable {
    package var systemVersion = ""
    package var typeURL = ""
    package var nonce = ""
    package var resources: [VersionedResource] = []
    package var removed: [String] = []

    package init() {}
}

// Field numbers: envoy/service/discovery/v3/discovery.proto, google/rpc/status.proto, google/protobuf/any.proto.

extension DeltaRequest {
    package init(protobuf bytes: [UInt8]) throws(ProtobufFault) {
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: node = try Self.nodeID(try reader.message(tag))
            case 2: typeURL = try reader.string(tag)
            case 3: subscribe.append(try reader.string(tag))
            case 4: unsubscribe.append(try reader.string(tag))
            case 5:
                let entry = try reader.stringEntry(tag)
                initialVersions[entry.key] = entry.value
            case 6: responseNonce = try reader.string(tag)
            case 7: errorDetail = try DeltaError(try reader.message(tag))
            default: try reader.skip(tag)
            }
        }
    }

    private static func nodeID(_ message: ProtobufReader) throws(ProtobufFault) -> String {
        var reader = message
        var id = ""
        while let tag = try reader.nextTag() {
            if tag.field == 1 { id = try reader.string(tag) } else { try reader.skip(tag) }
        }
        return id
    }

    package var protobuf: [UInt8] {
        var writer = ProtobufWriter()
        if !node.isEmpty {
            let id = node
            writer.message(1) { $0.string(1, id) }
        }
        if !typeURL.isEmpty { writer.string(2, typeURL) }
        for name in subscribe { writer.string(3, name) }
        for name in unsubscribe { writer.string(4, name) }
        for entry in initialVersions.sorted(by: { $0.key < $1.key }) {
            writer.stringEntry(5, key: entry.key, value: entry.value)
        }
        if !responseNonce.isEmpty { writer.string(6, responseNonce) }
        if let errorDetail {
            writer.message(7) { status in
                status.int32(1, errorDetail.code)
                status.string(2, errorDetail.message)
            }
        }
        return writer.bytes
    }
}

extension DeltaError {
    fileprivate init(_ message: ProtobufReader) throws(ProtobufFault) {
        var reader = message
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: code = try reader.int32(tag)
            case 2: self.message = try reader.string(tag)
            default: try reader.skip(tag)
            }
        }
    }
}

extension DeltaResponse {
    package var protobuf: [UInt8] {
        var writer = ProtobufWriter()
        if !systemVersion.isEmpty { writer.string(1, systemVersion) }
        for resource in resources {
            let typeURL = typeURL
            writer.message(2) { message in
                message.string(1, resource.version)
                message.message(2) { any in
                    any.string(1, typeURL)
                    any.bytes(2, resource.value)
                }
                message.string(3, resource.name)
            }
        }
        writer.string(4, typeURL)
        writer.string(5, nonce)
        for name in removed { writer.string(6, name) }
        return writer.bytes
    }

    package init(protobuf bytes: [UInt8]) throws(ProtobufFault) {
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: systemVersion = try reader.string(tag)
            case 2: resources.append(try VersionedResource(try reader.message(tag)))
            case 4: typeURL = try reader.string(tag)
            case 5: nonce = try reader.string(tag)
            case 6: removed.append(try reader.string(tag))
            default: try reader.skip(tag)
            }
        }
    }
}

extension VersionedResource {
    fileprivate init(_ message: ProtobufReader) throws(ProtobufFault) {
        self.init(name: "", version: "", value: [])
        var reader = message
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: version = try reader.string(tag)
            case 2:
                var any = try reader.message(tag)
                while let inner = try any.nextTag() {
                    if inner.field == 2 { value = Array(try any.bytes(inner)) } else { try any.skip(inner) }
                }
            case 3: name = try reader.string(tag)
            default: try reader.skip(tag)
            }
        }
    }
}
