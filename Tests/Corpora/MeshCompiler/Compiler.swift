import Glibc
import KubeClient
import KubeTypes
import MeshControl
import MeshModel
import ProxyResources
import Wire

/// The control plane's part of the Gateway API cases, without a cluster: each line of input is a cluster's objects and the pods whose
/// proxies are asked for, each line of output their statuses and what those proxies are told.
///
///     {"objects": […], "pods": ["demo/edge"]}
///     {"statuses": {"HTTPRoute demo/shop": {…}}, "pods": {"demo/edge": {"workload": …, "servicePorts": …, "backends": …}}}
///
/// A line `{"yaml": "…"}` is answered with the objects in the text.
@main
struct Compiler {
    static func main() throws {
        while let line = readLine() {
            let asked = try JSON(parsing: Array(line.utf8))
            if let yaml = asked["yaml"]?.string {
                try say(["objects": .array(try yamlDocuments(yaml).map(\.json))])
            } else {
                try say(answer(asked))
            }
        }
    }

    private static func say(_ answer: JSON) throws {
        var rest = Array((answer.text + "\n").utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count <= 0 { throw CancellationError() }
            rest = rest.dropFirst(count)
        }
    }

    private static func answer(_ asked: JSON) -> JSON {
        let types = Dictionary(MeshState.watched.map { ("\($0.group)/\($0.kind)", $0) }) { first, _ in first }
        var state = MeshState()
        var stored: [PolicyReference: KubeObject] = [:]
        for json in asked["objects"]?.array ?? [] {
            let object = KubeObject(json)
            let group = object.apiVersion.contains("/") ? object.apiVersion.prefix { $0 != "/" } : ""
            guard let type = types["\(group)/\(object.kind)"] else { continue }
            _ = state.apply(type, object)
            stored[PolicyReference(type, object.key)] = object
        }
        let model = compile(state)
        var statuses = JSONObject()
        for (reference, status) in statusesWritten(for: model, over: { stored[$0]?.status ?? .object(JSONObject()) }) {
            statuses.members.append(.init(reference.description, status))
        }
        var pods = JSONObject()
        for name in asked["pods"]?.array?.compactMap(\.string) ?? [] {
            let parts = name.split(separator: "/").map(String.init)
            pods.members.append(.init(name, told(model, ObjectKey(namespace: parts[0], name: parts[1]))))
        }
        return ["statuses": .object(statuses), "pods": .object(pods)]
    }

    private static func told(_ model: MeshModel, _ pod: ObjectKey) -> JSON {
        var workload: JSON = .null
        var (ports, backends): ([JSON], [JSON]) = ([], [])
        for resource in model.resources(for: pod) {
            switch resource {
            case .workload(let value): workload = value.json
            case .servicePort(let value): ports.append(value.json)
            case .backend(let value): backends.append(value.json)
            default: break
            }
        }
        return ["workload": workload, "servicePorts": .array(ports), "backends": .array(backends)]
    }
}
