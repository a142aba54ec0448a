import KubeTypes
package import Wire

/// A container's environment, from everything the manifest may take values of.
package enum Environment {
    /// What the values come from. `configMap` and `secret` give the object's data, `nil` when there is no such object.
    package struct Sources: Sendable {
        package var configMaps: [String: [String: String]?] = [:]
        package var secrets: [String: [String: [UInt8]]?] = [:]
        package var fields: PodFields
        /// Variables of services, which everything else overrides.
        package var services: [Variable] = []
        package init(fields: PodFields) { self.fields = fields }
    }

    package typealias Variable = (name: String, value: String)

    /// Later variables win over earlier ones of the same name; `$(NAME)` takes the value known at that point.
    package static func variables(of container: JSON, _ sources: Sources) throws(ContainerConfigFault) -> [Variable] {
        var environment = Ordered()
        for variable in sources.services { environment.set(variable.name, variable.value) }
        for (place, from) in (container["envFrom"]?.array ?? []).enumerated() {
            try add(from, place, sources, to: &environment)
        }
        for (place, entry) in (container["env"]?.array ?? []).enumerated() {
            guard let name = entry["name"]?.string, !name.isEmpty else {
                throw ContainerConfigFault("env[\(place)] has no name")
            }
            if let reference = entry["valueFrom"] {
                guard let value = try value(of: reference, name, container, sources) else { continue }
                environment.set(name, value)
            } else {
                environment.set(name, expand(entry["value"]?.string ?? "", with: environment.values))
            }
        }
        return environment.names.map { ($0, environment.values[$0] ?? "") }
    }

    /// `$(NAME)` is replaced by the variable's value, left as it is when there is none; `$$` is a dollar sign.
    package static func expand(_ text: String, with values: [String: String]) -> String {
        guard text.utf8.contains(UInt8(ascii: "$")) else { return text }
        var result = ""
        var rest = text[...]
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            let after = rest[rest.index(after: dollar)...]
            if after.first == "$" {
                result += "$"
                rest = after.dropFirst()
            } else if after.first == "(", let close = after.firstIndex(of: ")") {
                let name = String(after[after.index(after: after.startIndex)..<close])
                rest = after[after.index(after: close)...]
                result += values[name] ?? "$(\(name))"
            } else {
                result += "$"
                rest = after
            }
        }
        return result + rest
    }

    /// Which objects a container's environment names: configMaps, secrets.
    package static func references(of container: JSON) -> (configMaps: Set<String>, secrets: Set<String>) {
        var configMaps: Set<String> = []
        var secrets: Set<String> = []
        for from in container["envFrom"]?.array ?? [] {
            if let name = from[path: ["configMapRef", "name"]]?.string { configMaps.insert(name) }
            if let name = from[path: ["secretRef", "name"]]?.string { secrets.insert(name) }
        }
        for entry in container["env"]?.array ?? [] {
            if let name = entry[path: ["valueFrom", "configMapKeyRef", "name"]]?.string { configMaps.insert(name) }
            if let name = entry[path: ["valueFrom", "secretKeyRef", "name"]]?.string { secrets.insert(name) }
        }
        return (configMaps, secrets)
    }

    private static func add(
        _ from: JSON, _ place: Int, _ sources: Sources, to environment: inout Ordered
    ) throws(ContainerConfigFault) {
        let prefix = from["prefix"]?.string ?? ""
        let values: [String: String]
        if let reference = from["configMapRef"], let name = reference["name"]?.string {
            guard let data = sources.configMaps[name] ?? nil else {
                if reference["optional"]?.bool == true { return }
                throw ContainerConfigFault("configmap \"\(name)\" not found (envFrom[\(place)])")
            }
            values = data
        } else if let reference = from["secretRef"], let name = reference["name"]?.string {
            guard let data = sources.secrets[name] ?? nil else {
                if reference["optional"]?.bool == true { return }
                throw ContainerConfigFault("secret \"\(name)\" not found (envFrom[\(place)])")
            }
            values = data.mapValues { String(decoding: $0, as: UTF8.self) }
        } else {
            throw ContainerConfigFault("envFrom[\(place)] names neither a configMapRef nor a secretRef")
        }
        for (name, value) in values.sorted(by: { $0.key < $1.key }) where !name.isEmpty && !name.contains("=") {
            environment.set(prefix + name, value)
        }
    }

    /// - Returns: `nil` when an optional source is not there.
    private static func value(
        of reference: JSON, _ variable: String, _ container: JSON, _ sources: Sources
    ) throws(ContainerConfigFault) -> String? {
        if let key = reference["configMapKeyRef"] {
            let name = key["name"]?.string ?? ""
            let isOptional = key["optional"]?.bool ?? false
            guard let data = sources.configMaps[name] ?? nil else {
                if isOptional { return nil }
                throw ContainerConfigFault("configmap \"\(name)\" not found (env \(variable))")
            }
            if let value = data[key["key"]?.string ?? ""] { return value }
            if isOptional { return nil }
            throw ContainerConfigFault(
                "couldn't find key \(key["key"]?.string ?? "") in configmap \"\(name)\" (env \(variable))")
        }
        if let key = reference["secretKeyRef"] {
            let name = key["name"]?.string ?? ""
            let isOptional = key["optional"]?.bool ?? false
            guard let data = sources.secrets[name] ?? nil else {
                if isOptional { return nil }
                throw ContainerConfigFault("secret \"\(name)\" not found (env \(variable))")
            }
            if let value = data[key["key"]?.string ?? ""] { return String(decoding: value, as: UTF8.self) }
            if isOptional { return nil }
            throw ContainerConfigFault(
                "couldn't find key \(key["key"]?.string ?? "") in secret \"\(name)\" (env \(variable))")
        }
        if let path = reference[path: ["fieldRef", "fieldPath"]]?.string {
            if let value = sources.fields[path] { return value }
            throw ContainerConfigFault("env \(variable): a pod has no field \"\(path)\" to take a value from")
        }
        if let resource = reference["resourceFieldRef"] {
            if let value = sources.fields.resource(resource, of: container) { return value }
            throw ContainerConfigFault(
                "env \(variable): unknown resource \"\(resource["resource"]?.string ?? "")\" in resourceFieldRef")
        }
        throw ContainerConfigFault("env \(variable): valueFrom names no source this agent knows")
    }

    private struct Ordered {
        private(set) var names: [String] = []
        private(set) var values: [String: String] = [:]
        mutating func set(_ name: String, _ value: String) {
            if values.updateValue(value, forKey: name) == nil { names.append(name) }
        }
    }
}

/// The container's manifest asks for something that cannot be had now.
package struct ContainerConfigFault: Error, Sendable, Hashable, CustomStringConvertible {
    package let message: String
    package init(_ message: String) { self.message = message }
    package var description: String { message }
}
