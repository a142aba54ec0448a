package import KubeTypes
import Synchronization

/// The newest write of each key's reconciler, to tell whether a cache shows it yet. Deciding on a cache that does not would do
/// the same work twice: create a second pod, or a second slice.
package final class WrittenVersions: Sendable {
    private let versions = Mutex<[ObjectKey: Int]>([:])

    package init() {}

    /// Notes what a write for `key` returned.
    package func wrote(_ object: KubeObject, for key: ObjectKey) {
        guard let version = Int(object.resourceVersion) else { return }
        versions.withLock { $0[key] = max($0[key] ?? 0, version) }
    }

    /// Whether the cache shows all writes for `key`. Its informer tells a change when it catches up.
    package func areSeen(for key: ObjectKey, by cache: ObjectCache) -> Bool {
        let seen = cache.version
        return versions.withLock { versions in
            guard let written = versions[key] else { return true }
            if seen >= written { versions[key] = nil }
            return seen >= written
        }
    }
}
