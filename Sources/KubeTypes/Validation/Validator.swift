import Wire

/// Collects what is wrong with one object. The checks of a kind are in extensions, a file a topic.
struct Validator {
    private(set) var faults: [FieldFault] = []
    /// What is written, when it is not the object itself.
    var subresource: String?

    mutating func required(_ path: String, _ detail: String = "") { faults.append(FieldFault(.required, path, detail)) }
    mutating func invalid(_ path: String, _ value: JSON?, _ detail: String) {
        faults.append(FieldFault(.invalid, path, value: value ?? .null, detail))
    }
    mutating func forbidden(_ path: String, _ detail: String) { faults.append(FieldFault(.forbidden, path, detail)) }
    mutating func duplicate(_ path: String, _ value: JSON) { faults.append(FieldFault(.duplicate, path, value: value)) }
    mutating func notFound(_ path: String, _ value: JSON) { faults.append(FieldFault(.notFound, path, value: value)) }
    mutating func add(_ fault: FieldFault) { faults.append(fault) }

    mutating func unsupported(_ path: String, _ value: JSON, _ supported: [String]) {
        let list = supported.map { "\"\($0)\"" }.joined(separator: ", ")
        faults.append(FieldFault(.unsupported, path, value: value, "supported values: \(list)"))
    }

    /// Applies a check of `Names` to a string; an empty one counts as unset.
    mutating func name(_ path: @autoclosure () -> String, _ value: JSON?, _ check: (String) -> String?) {
        guard let text = value?.string, !text.isEmpty, let fault = check(text) else { return }
        invalid(path(), value, fault)
    }

    mutating func oneOf(_ path: @autoclosure () -> String, _ value: JSON?, _ supported: [String]) {
        guard let value, let text = value.string, !supported.contains(text) else { return }
        unsupported(path(), value, supported)
    }

    mutating func notNegative(_ path: @autoclosure () -> String, _ value: JSON?) {
        if let number = value?.int, number < 0 { invalid(path(), value, "must be greater than or equal to 0") }
    }

    /// A user or a group by number.
    mutating func identity(_ path: @autoclosure () -> String, _ value: JSON?) {
        guard let number = value?.int, !(0...Int(Int32.max)).contains(number) else { return }
        invalid(path(), value, "must be between 0 and \(Int32.max), inclusive")
    }

    mutating func port(_ path: @autoclosure () -> String, _ value: JSON?) {
        if let number = value?.int, let fault = Names.portNumber(number) { invalid(path(), value, fault) }
    }

    /// A port by number, or by the name of a container's port.
    mutating func portOrName(_ path: @autoclosure () -> String, _ value: JSON?) {
        port(path(), value)
        name(path(), value, Names.port)
    }

    mutating func immutable(_ path: @autoclosure () -> String, _ new: JSON?, _ old: JSON?) {
        if new != old { invalid(path(), new, "field is immutable") }
    }

    mutating func labels(_ path: @autoclosure () -> String, _ value: JSON?) {
        for entry in value?.object ?? JSONObject() {
            if let fault = Names.qualified(entry.key) { invalid(path(), .string(entry.key), fault) }
            if let text = entry.value.string, let fault = Names.labelValue(text) {
                invalid("\(path())[\(entry.key)]", entry.value, fault)
            }
        }
    }

    mutating func quantity(_ path: @autoclosure () -> String, _ value: JSON) -> Quantity? {
        guard let quantity = Quantity(json: value) else {
            invalid(path(), value, "must be a quantity: a number with an optional suffix, such as 500m, 2, 128Mi or 1G")
            return nil
        }
        if quantity.isNegative { invalid(path(), value, "must be greater than or equal to 0") }
        return quantity
    }

    /// A duration in Go's form.
    mutating func duration(_ path: @autoclosure () -> String, _ value: JSON?) {
        guard let text = value?.string else { return }
        if Duration(text: text) == nil { invalid(path(), value, "must be a duration, such as 300ms, 5s or 1h30m") }
    }

    /// A number or a percentage: `maxSurge: 25%`.
    mutating func intOrPercent(_ path: @autoclosure () -> String, _ value: JSON?) {
        guard let value else { return }
        if let number = value.int {
            if number < 0 { invalid(path(), value, "must be greater than or equal to 0") }
            if number > Int(Int32.max) { invalid(path(), value, "must be less than or equal to \(Int32.max)") }
            return
        }
        guard let text = value.string, text.hasSuffix("%"), let percent = Int(text.dropLast()), percent >= 0 else {
            return invalid(path(), value, "must be a number or a percentage, such as 2 or 25%")
        }
    }
}

extension JSON {
    /// The elements of a list under a member; none when it is missing.
    func list(_ key: String) -> [JSON] { self[key]?.array ?? [] }
}
