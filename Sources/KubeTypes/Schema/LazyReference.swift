import Synchronization

/// An object made at its first use. Of two that make it at once, one is kept.
///
/// `AtomicLazyReference` is the same, but generic across modules, which costs more than what is looked up.
struct LazyReference<Value: AnyObject>: ~Copyable {
    /// The object, retained; 0 until it is there.
    private let bits = Atomic<UInt>(0)

    func load() -> Value? {
        guard let pointer = UnsafeRawPointer(bitPattern: bits.load(ordering: .acquiring)) else { return nil }
        return Unmanaged<Value>.fromOpaque(pointer).takeUnretainedValue()
    }

    func storeIfNil(_ value: Value) -> Value {
        let made = Unmanaged.passRetained(value)
        let mine = UInt(bitPattern: made.toOpaque())
        let (isStored, _) = bits.compareExchange(expected: 0, desired: mine, ordering: .acquiringAndReleasing)
        if isStored { return value }
        made.release()
        return load() ?? value
    }

    deinit {
        guard let pointer = UnsafeRawPointer(bitPattern: bits.load(ordering: .acquiring)) else { return }
        Unmanaged<Value>.fromOpaque(pointer).release()
    }
}

extension LazyReference: Sendable where Value: Sendable {}
