/// A large value that most of its holders leave as it usually is: one word then, and a box of its own otherwise.
///
/// A proxy may hold ten thousand routes and backends of which a few ask for anything beside a path and an endpoint.
@propertyWrapper
package struct Boxed<Value: Usual & Sendable>: Sendable, Hashable {
    private final class Box: Sendable {
        let value: Value
        init(_ value: Value) { self.value = value }
    }
    private var box: Box?

    package init(wrappedValue: Value) { box = Self.box(wrappedValue) }

    package var wrappedValue: Value {
        get { box?.value ?? .usual }
        set { box = Self.box(newValue) }
    }

    private static func box(_ value: Value) -> Box? { value == .usual ? nil : Box(value) }

    package static func == (one: Self, other: Self) -> Bool {
        one.box === other.box || one.wrappedValue == other.wrappedValue
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(wrappedValue) }
}

/// What is meant when nothing is asked for.
package protocol Usual: Hashable {
    static var usual: Self { get }
}

extension Optional: Usual where Wrapped: Hashable {
    package static var usual: Self { nil }
}
