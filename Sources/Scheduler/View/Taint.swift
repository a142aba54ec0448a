package import Wire

package struct Taint: Sendable, Hashable {
    package enum Effect: String, Sendable {
        case noSchedule = "NoSchedule", preferNoSchedule = "PreferNoSchedule", noExecute = "NoExecute"
    }
    package var key: String
    package var value: String
    package var effect: Effect

    package init?(_ json: JSON) {
        guard let effect = Effect(rawValue: json["effect"]?.string ?? "") else { return nil }
        key = json["key"]?.string ?? ""
        value = json["value"]?.string ?? ""
        self.effect = effect
    }
}

package struct Toleration: Sendable, Hashable {
    /// Empty tolerates every key.
    package var key: String
    /// `nil` tolerates every value.
    package var value: String?
    /// `nil` tolerates every effect.
    package var effect: Taint.Effect?

    package init(_ json: JSON) {
        key = json["key"]?.string ?? ""
        value = json["operator"]?.string == "Exists" ? nil : json["value"]?.string ?? ""
        effect = Taint.Effect(rawValue: json["effect"]?.string ?? "")
    }

    package func tolerates(_ taint: Taint) -> Bool {
        if let effect, effect != taint.effect { return false }
        if key.isEmpty { return value == nil }
        return key == taint.key && (value == nil || value == taint.value)
    }
}
