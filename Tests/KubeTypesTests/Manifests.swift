import KubeTypes
import Testing
import Wire
import Yams

/// Objects of the tests, written as users write them.
enum Manifest {
    static func json(_ yaml: String) throws -> JSON { try convert(try #require(try Yams.compose(yaml: yaml))) }

    private static func convert(_ node: Yams.Node) throws -> JSON {
        switch node {
        case .mapping(let mapping):
            return .object(JSONObject(try mapping.map { .init(try #require($0.key.string), try convert($0.value)) }))
        case .sequence(let sequence): return .array(try sequence.map(convert))
        case .scalar(let scalar):
            guard scalar.style == .plain else { return .string(scalar.string) }
            switch scalar.string {
            case "true": return true
            case "false": return false
            case "null", "~", "": return .null
            default: break
            }
            if let number = Int64(scalar.string) { return .int(number) }
            if let number = Double(scalar.string) { return .double(number) }
            return .string(scalar.string)
        default: throw Unreadable()
        }
    }

    private struct Unreadable: Error {}

    static func definition(_ json: JSON) throws -> ResourceDefinition {
        try #require(
            SchemaCatalog.builtIn.definition(
                apiVersion: json["apiVersion"]?.string ?? "", kind: json["kind"]?.string ?? ""))
    }

    /// Decoded and defaulted, as the API server would store it.
    static func object(_ yaml: String) throws -> KubeObject {
        let json = try json(yaml)
        let definition = try definition(json)
        var object = try definition.decode(json.bytes, contentType: "application/json", fieldValidation: .strict).object
        if definition.type.isNamespaced, object.namespace.isEmpty { object.namespace = "demo" }
        definition.default(&object)
        return object
    }

    /// What validation says of it, one line a fault.
    static func faults(_ yaml: String, old: String? = nil) throws -> [String] {
        let object = try object(yaml)
        let before = try old.map { try self.object($0) }
        return try definition(object.json).faults(object, old: before).map(\.description)
    }

    static let deployment = """
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: web
          labels: {app: web}
        spec:
          replicas: 2
          selector:
            matchLabels: {app: web}
          template:
            metadata:
              labels: {app: web}
            spec:
              containers:
              - name: web
                image: web:1
                ports:
                - containerPort: 8080
                  name: http
                env:
                - name: COLOR
                  value: blue
                resources:
                  limits: {cpu: 500m, memory: 128Mi}
                readinessProbe:
                  httpGet: {port: http}
                volumeMounts:
                - {name: data, mountPath: /data}
              volumes:
              - name: data
        """

    static let service = """
        apiVersion: v1
        kind: Service
        metadata: {name: web}
        spec:
          selector: {app: web}
          ports:
          - port: 80
            targetPort: http
        """

    static let httpRoute = """
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: catalog}
        spec:
          parentRefs:
          - {kind: Service, group: "", name: catalog, port: 80}
          rules:
          - backendRefs:
            - {name: catalog-v1, port: 80, weight: 90}
            - {name: catalog-v2, port: 80, weight: 10}
        """

    static let virtualService = """
        apiVersion: networking.istio.io/v1beta1
        kind: VirtualService
        metadata: {name: catalog}
        spec:
          hosts: [catalog]
          http:
          - route:
            - destination: {host: catalog, subset: v1}
              weight: 90
            - destination: {host: catalog, subset: v2}
              weight: 10
            timeout: 5s
        """
}
