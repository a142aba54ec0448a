import Glibc
import Testing
import Wire

@testable import CEL

/// The language's own conformance cases, where the machine has them: `CEL_SPEC_CASES` names a JSON file of them.
@Suite struct SpecCorpus {
    @Test("the language's conformance cases, when they are there")
    func cases() throws {
        guard let path = getenv("CEL_SPEC_CASES"), let file = fopen(String(cString: path), "re") else { return }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer[..<count] }
        var passed: [String: Int] = [:]
        var failed: [String: Int] = [:]
        for test in try JSON(parsing: bytes).array ?? [] {
            let group = test["file"]?.string ?? ""
            let outcome = run(test)
            if outcome.isEmpty {
                passed[group, default: 0] += 1
            } else {
                failed[group, default: 0] += 1
                print("\(group) \(test["name"]?.string ?? ""): \(test["expr"]?.string ?? "") — \(outcome)")
            }
        }
        for group in Set(passed.keys).union(failed.keys).sorted() {
            print("\(group): \(passed[group] ?? 0) passed, \(failed[group] ?? 0) failed")
        }
        print("all: \(passed.values.reduce(0, +)) passed, \(failed.values.reduce(0, +)) failed")
    }

    /// - Returns: what is wrong; empty when nothing is.
    private func run(_ test: JSON) -> String {
        var environment = Environment([
            .standard, .optionals, .strings, .lists, .listExtensions, .sets, .regex, .urls, .network,
        ])
        environment.container = test["container"]?.string ?? ""
        var inputs: [Value?] = []
        for variable in test["vars"]?.array ?? [] {
            guard let parts = variable.array, let name = parts[0].string else { continue }
            environment.declare(name, type(parts[1]))
        }
        for binding in test["bind"]?.array ?? [] {
            guard let parts = binding.array, let name = parts[0].string else { continue }
            let place = environment.places[name] ?? environment.declare(name, .dyn)
            while inputs.count <= place { inputs.append(nil) }
            inputs[place] = value(parts[1])
        }
        do {
            let program = try environment.compile(test["expr"]?.string ?? "")
            if let wanted = test["type"], program.type != type(wanted) { return "type \(program.type)" }
            guard let wanted = test["value"] else {
                guard test["error"] != nil else { return "" }
                if let made = try? program.evaluate(inputs) { return "no error but \(made)" }
                return ""
            }
            let made = try program.evaluate(inputs)
            let expected = value(wanted)
            if case .double(let number) = expected, number.isNaN, case .double(let other) = made, other.isNaN {
                return ""
            }
            return made.equals(expected) && made.type.name == expected.type.name ? "" : "gave \(made), not \(expected)"
        } catch {
            return test["error"] != nil ? "" : "\(error)"
        }
    }

    private func type(_ json: JSON) -> ValueType {
        if let element = json["list"] { return .list(type(element)) }
        if let inner = json["optional"] { return .optional(type(inner)) }
        if let parts = json["map"]?.array { return .map(type(parts[0]), type(parts[1])) }
        let plain: [String: ValueType] = [
            "bool": .bool, "int": .int, "uint": .uint, "double": .double, "string": .string, "bytes": .bytes,
            "null": .null, "timestamp": .timestamp, "duration": .duration,
        ]
        return plain[json.string ?? ""] ?? .dyn
    }

    private func value(_ json: JSON) -> Value {
        let given = json["v"] ?? .null
        switch json["t"]?.string {
        case "bool": return .bool(given.bool ?? false)
        case "int": return .int(Int64(given.string ?? "") ?? 0)
        case "uint": return .uint(UInt64(given.string ?? "") ?? 0)
        case "double": return .double(Double(given.string ?? "") ?? 0)
        case "string": return .string(given.string ?? "")
        case "bytes": return .bytes((given.array ?? []).map { UInt8($0.int ?? 0) })
        case "type": return .type(.named(given.string ?? ""))
        case "list": return .list((given.array ?? []).map { value($0) })
        case "map":
            let entries = (given.array ?? []).map { entry in
                (value(entry.array?[0] ?? .null), value(entry.array?[1] ?? .null))
            }
            return MapEntries(entries).map { .map(.entries($0)) } ?? .null
        case "timestamp":
            let parts = (given.array ?? []).map { Int64($0.int ?? 0) }
            return Timestamp(seconds: parts[0], nanoseconds: parts[1]).map { .timestamp($0) } ?? .null
        case "duration": return .duration(TimeSpan(nanoseconds: Int64(given.int ?? 0)))
        default: return .null
        }
    }
}
