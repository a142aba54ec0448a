import Wire

/// The bounds a schema sets. Custom kinds bring schemas by the thousand, and most set one bound or none: each has half the room
/// an optional takes.
struct SchemaBounds: Sendable {
    /// NaN, which is no number in JSON, for none.
    struct Number: Sendable {
        private let raw: Double
        init(_ json: JSON?) { raw = json?.double ?? .nan }
        var value: Double? { raw.isNaN ? nil : raw }
    }

    /// -1 for none: nothing has fewer parts than none.
    struct Count: Sendable {
        private let raw: Int
        init(_ json: JSON?) { raw = json?.int.map { max(0, $0) } ?? -1 }
        var value: Int? { raw < 0 ? nil : raw }
    }

    let minimum, maximum, multipleOf: Number
    let minLength, maxLength, minItems, maxItems, minProperties, maxProperties: Count

    init(_ schema: JSON) {
        minimum = Number(schema["minimum"])
        maximum = Number(schema["maximum"])
        multipleOf = Number(schema["multipleOf"])
        minLength = Count(schema["minLength"])
        maxLength = Count(schema["maxLength"])
        minItems = Count(schema["minItems"])
        maxItems = Count(schema["maxItems"])
        minProperties = Count(schema["minProperties"])
        maxProperties = Count(schema["maxProperties"])
    }

    var areNone: Bool {
        minimum.value == nil && maximum.value == nil && multipleOf.value == nil && minLength.value == nil
            && maxLength.value == nil && minItems.value == nil && maxItems.value == nil && minProperties.value == nil
            && maxProperties.value == nil
    }
}
