package import KubeTypes
import Synchronization
package import Wire

/// Paths another part of the program answers, behind this server's authentication and authorization.
package protocol APIExtension: Sendable {
    /// The paths it answers begin so: `/apis/weft.dev/v1/`.
    var prefix: String { get }
    /// `path`: the whole path, without the query.
    func answer(
        method: String, path: String, query: [(String, String)], body: [UInt8]
    ) async throws(APIFailure) -> JSON
}

/// The extensions of one server.
final class ExtensionList: Sendable {
    private let parts = Mutex<[any APIExtension]>([])

    func add(_ part: any APIExtension) { parts.withLock { $0.append(part) } }

    func first(for path: String) -> (any APIExtension)? {
        parts.withLock { parts in parts.first { path.hasPrefix($0.prefix) } }
    }
}
