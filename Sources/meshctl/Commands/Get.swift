import ArgumentParser
import KubeClient
import KubeTypes
import Wire

struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List objects, or print one.",
        discussion: """
            EXAMPLES
              meshctl get pods -A
              meshctl get deployment catalog-v1 -n demo -o yaml
              meshctl get httproutes,services -n demo
              meshctl get pods -n demo -l app=catalog -o wide
            """)

    @OptionGroup var target: TargetOptions
    @OptionGroup var format: OutputOptions
    @Argument(help: "The type: pods, po, deployments.apps, httproute; several with commas.")
    var type: String
    @Argument(help: "The names; none lists all.")
    var names: [String] = []
    @Option(name: [.customShort("l"), .long], help: "A label selector, for example app=catalog,version!=v2.")
    var selector = ""

    func run() async throws {
        let api = try target.connect()
        let index = try await api.resources()
        let words = type.split(separator: ",").map(String.init)
        if words.isEmpty { throw CommandFailure("no resource type named: write one, such as pods or httproutes") }
        for word in words {
            guard let resource = index.type(named: word) else {
                throw CommandFailure("the cluster has no resource type \"\(word)\"\(index.hint(forResource: word))")
            }
            try await print(resource, api)
        }
    }

    private func print(_ resource: ResourceType, _ api: APIConnection) async throws {
        let namespace = !resource.isNamespaced || target.allNamespaces ? "" : target.namespaceOrDefault
        switch format.output {
        case .table, .wide:
            let tables =
                names.isEmpty
                ? [try await api.table(resource, namespace: namespace, name: nil, selector: selector)]
                : try await inOrder(names) {
                    try await api.table(resource, namespace: namespace, name: $0, selector: "")
                }
            Swift.print(render(tables, resource, namespace: namespace))
        case .json, .yaml:
            if names.count == 1 {
                try printStructured(
                    try await api.get(resource, ObjectKey(namespace: namespace, name: names[0])).json, format.output)
                return
            }
            var items = try await objects(resource, namespace, api)
            if !names.isEmpty { items = items.filter { names.contains($0.name) } }
            try printStructured(
                ["apiVersion": "v1", "kind": "List", "metadata": [:], "items": .array(items.map(\.json))], format.output
            )
        case .name:
            for object in try await objects(resource, namespace, api) where names.isEmpty || names.contains(object.name)
            {
                Swift.print(displayName(resource, object.name))
            }
        }
    }

    private func objects(_ resource: ResourceType, _ namespace: String, _ api: APIConnection) async throws
        -> [KubeObject]
    {
        for name in names { _ = try await api.get(resource, ObjectKey(namespace: namespace, name: name)) }
        return try await api.list(resource, namespace: namespace, selector: selector)
    }

    private func inOrder<Value>(_ names: [String], _ body: (String) async throws -> Value) async throws -> [Value] {
        var values: [Value] = []
        for name in names { values.append(try await body(name)) }
        return values
    }

    private func render(_ tables: [JSON], _ resource: ResourceType, namespace: String) -> String {
        let columns = tables.first?["columnDefinitions"]?.array ?? []
        let shown = columns.indices.filter { format.output == .wide || (columns[$0]["priority"]?.int ?? 0) == 0 }
        let withNamespace = resource.isNamespaced && target.allNamespaces
        var table = TextTable(
            (withNamespace ? ["NAMESPACE"] : []) + shown.map { columns[$0]["name"]?.string?.uppercased() ?? "" })
        for row in tables.flatMap({ $0["rows"]?.array ?? [] }) {
            let cells = row["cells"]?.array ?? []
            let place = row["object"]?["metadata"]?["namespace"]?.string ?? ""
            table.rows.append((withNamespace ? [place] : []) + shown.map { $0 < cells.count ? text(cells[$0]) : "" })
        }
        if table.rows.isEmpty {
            return namespace.isEmpty
                ? "no \(resource.resource) found" : "no \(resource.resource) found in namespace \(namespace)"
        }
        return table.text
    }

    private func text(_ cell: JSON) -> String {
        switch cell {
        case .string(let value): value.isEmpty ? "<none>" : value
        case .null: "<none>"
        default: cell.text
        }
    }
}
