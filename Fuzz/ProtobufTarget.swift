import KubeTypes
import Wire

/// Objects in Kubernetes' protobuf: what is read is written, and read again as the same. An input that begins with `{` is the JSON of one.
enum ProtobufTarget {
    private static let protobuf = KubeProtobuf.builtIn

    static func run(_ input: Input) {
        let bytes = Array(input)
        if bytes.first == UInt8(ascii: "{") {
            guard let json = try? JSON(parsing: bytes),
                let definition = FuzzedKinds.definition(json),
                let object = try? definition.decode(json, fieldValidation: .ignore).object,
                let encoded = protobuf.encode(object.json)
            else { return }
            check(encoded)
            return
        }
        guard let json = try? protobuf.decode(bytes) else { return }
        JSONTarget.check(json)
        guard let encoded = protobuf.encode(json) else { return }
        precondition(check(encoded) == json, "an object has changed on the way")
    }

    @discardableResult
    private static func check(_ encoded: [UInt8]) -> JSON {
        guard let json = try? protobuf.decode(encoded) else { preconditionFailure("our own message is refused") }
        precondition(protobuf.encode(json) == encoded, "a message that is written otherwise after it is read")
        return json
    }
}

/// Kinds that inputs are of.
enum FuzzedKinds {
    static func definition(_ json: JSON) -> ResourceDefinition? {
        SchemaCatalog.builtIn.definition(
            apiVersion: json["apiVersion"]?.string ?? "", kind: json["kind"]?.string ?? "")
    }

    /// An object to be changed, with lists of each strategy.
    static let deployment = stored(
        """
        {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"demo","labels":{"app":"web"},
        "finalizers":["a.example/x"],"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"o","uid":"u1"}]},
        "spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},
        "spec":{"containers":[{"name":"app","image":"app:1","ports":[{"containerPort":80},{"containerPort":81}],
        "env":[{"name":"A","value":"1"},{"name":"B","value":"2"}]},{"name":"side","image":"side:1"}],
        "volumes":[{"name":"v","emptyDir":{}}],"tolerations":[{"key":"k","operator":"Exists"}]}}}}
        """)
    static let configMap = stored(
        """
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web","namespace":"demo"},"data":{"a":"1","b":"2"}}
        """)
    static let service = stored(
        """
        {"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"demo"},"spec":{"selector":{"app":"web"},
        "ports":[{"port":80,"protocol":"TCP","name":"http"},{"port":81,"protocol":"UDP","name":"dns"}]}}
        """)
    static let all = [deployment, configMap, service]

    struct Kind {
        let definition: ResourceDefinition
        let object: KubeObject
    }

    private static func stored(_ text: String) -> Kind {
        guard let json = try? JSON(parsing: text), let definition = definition(json),
            var object = try? definition.decode(json, fieldValidation: .strict).object
        else { preconditionFailure("an object of the fuzz targets is not one of ours") }
        definition.default(&object)
        return Kind(definition: definition, object: object)
    }
}
