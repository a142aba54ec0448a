import ArgumentParser
import Wire
import Yams

enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case table, wide, json, yaml, name
}

struct OutputOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "How to print: table, wide, json, yaml or name.")
    var output: OutputFormat = .table
}

/// Prints a value as JSON or YAML.
func printStructured(_ json: JSON, _ format: OutputFormat) throws {
    switch format {
    case .yaml: print(try yamlText(json), terminator: "")
    default: print(json.pretty())
    }
}

func yamlText(_ json: JSON) throws -> String {
    try Yams.serialize(node: node(json))
}

private func node(_ json: JSON) -> Node {
    switch json {
    case .null: return Node("null", Tag(.null))
    case .bool(let value): return Node(value ? "true" : "false", Tag(.bool))
    case .int(let value): return Node(String(value), Tag(.int))
    case .double(let value): return Node(String(value), Tag(.float))
    case .string(let value):
        // Text that would read as another type, or that has lines, keeps its quotes.
        let plain = Resolver.default.resolveTag(of: Node(value)) == .str && !value.isEmpty
        let style: Node.Scalar.Style = value.contains("\n") ? .literal : plain ? .any : .doubleQuoted
        return Node(value, Tag(.str), style)
    case .array(let elements): return Node(elements.map(node), Tag(.seq))
    case .object(let object): return Node(object.map { (Node($0.key), node($0.value)) }, Tag(.map))
    }
}
