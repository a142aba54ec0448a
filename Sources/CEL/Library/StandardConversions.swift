/// From one of the language's types to another.
enum StandardConversions {
    static let functions: [Function] = [
        conversion("bool", .bool, [.bool, .string], bool),
        conversion("int", .int, [.int, .uint, .double, .string, .timestamp, .duration], int),
        conversion("uint", .uint, [.uint, .int, .double, .string], uint),
        conversion("double", .double, [.double, .int, .uint, .string], double),
        conversion(
            "string", .string, [.string, .bool, .int, .uint, .double, .bytes, .timestamp, .duration], string),
        conversion("bytes", .bytes, [.bytes, .string], bytes),
        conversion("timestamp", .timestamp, [.timestamp, .string, .int], timestamp),
        conversion("duration", .duration, [.duration, .string, .int], duration),
        Function(
            "type",
            .global("type", [.parameter("A")], .type(.parameter("A"))) { (values) throws(EvaluationFault) -> Value in
                .type(values[0].type)
            }),
        Function(
            "dyn",
            .global("to_dyn", [.parameter("A")], .dyn) { (values) throws(EvaluationFault) -> Value in values[0] }),
    ]

    private static func conversion(
        _ name: String, _ result: ValueType, _ from: [ValueType],
        _ convert: @escaping @Sendable (Value) throws(EvaluationFault) -> Value
    ) -> Function {
        Function(
            name,
            from.map { type in
                let isText = type == .bytes && result == .string || type == .string && result == .bytes
                return .global("\(type.name)_to_\(name)", [type], result, cost: isText ? .traversal(0) : .fixed(1)) {
                    (values) throws(EvaluationFault) -> Value in try convert(values[0])
                }
            })
    }

    private static func refused(_ text: String, _ type: String) -> EvaluationFault {
        .failed("type conversion error from 'string' to '\(type)': \(text.prefix(100))")
    }

    private static func bool(_ value: Value) throws(EvaluationFault) -> Value {
        switch value {
        case .bool: return value
        case .string(let text):
            switch text {
            case "1", "t", "T", "TRUE", "true", "True": return .bool(true)
            case "0", "f", "F", "FALSE", "false", "False": return .bool(false)
            default: throw refused(text, "bool")
            }
        default: throw .noOverload
        }
    }

    private static func int(_ value: Value) throws(EvaluationFault) -> Value {
        switch value {
        case .int: return value
        case .uint(let value):
            guard let value = Int64(exactly: value) else { throw .overflow }
            return .int(value)
        case .double(let value):
            // Both ends are left out: what was rounded to them is not known.
            guard value > -0x1p63, value < 0x1p63 else { throw .overflow }
            return .int(Int64(value))
        case .string(let text):
            guard let value = Int64(text) else { throw refused(text, "int") }
            return .int(value)
        case .timestamp(let moment): return .int(moment.seconds)
        case .duration(let span): return .int(span.nanoseconds)
        default: throw .noOverload
        }
    }

    private static func uint(_ value: Value) throws(EvaluationFault) -> Value {
        switch value {
        case .uint: return value
        case .int(let value):
            guard let value = UInt64(exactly: value) else { throw .failed("unsigned integer overflow") }
            return .uint(value)
        case .double(let value):
            guard value >= 0, value < 0x1p64 else { throw .failed("unsigned integer overflow") }
            return .uint(UInt64(value))
        case .string(let text):
            guard let value = UInt64(text), !text.hasPrefix("+") else { throw refused(text, "uint") }
            return .uint(value)
        default: throw .noOverload
        }
    }

    private static func double(_ value: Value) throws(EvaluationFault) -> Value {
        switch value {
        case .double: return value
        case .int(let value): return .double(Double(value))
        case .uint(let value): return .double(Double(value))
        case .string(let text):
            guard let value = NumberText.double(text) else { throw refused(text, "double") }
            return .double(value)
        default: throw .noOverload
        }
    }

    private static func string(_ value: Value) throws(EvaluationFault) -> Value {
        switch value {
        case .string: return value
        case .bool, .int, .uint, .double, .timestamp, .duration: return .string(value.plainText)
        case .bytes(let bytes):
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw .failed("invalid UTF-8 in bytes, cannot convert to string")
            }
            return .string(text)
        default: throw .noOverload
        }
    }

    private static func bytes(_ value: Value) throws(EvaluationFault) -> Value {
        switch value {
        case .bytes: return value
        case .string(let text): return .bytes(Array(text.utf8))
        default: throw .noOverload
        }
    }

    private static func timestamp(_ value: Value) throws(EvaluationFault) -> Value {
        switch value {
        case .timestamp: return value
        case .int(let seconds):
            guard let moment = Timestamp(seconds: seconds) else { throw .failed("timestamp overflow") }
            return .timestamp(moment)
        case .string(let text):
            guard let moment = Timestamp(text) else { throw refused(text, "timestamp") }
            return .timestamp(moment)
        default: throw .noOverload
        }
    }

    private static func duration(_ value: Value) throws(EvaluationFault) -> Value {
        switch value {
        case .duration: return value
        case .int(let nanoseconds): return .duration(TimeSpan(nanoseconds: nanoseconds))
        case .string(let text):
            guard let span = TimeSpan(text) else { throw refused(text, "duration") }
            return .duration(span)
        default: throw .noOverload
        }
    }
}
