/// Who asks.
package struct User: Sendable, Hashable {
    package var name: String
    package var groups: [String]

    package init(name: String, groups: [String] = []) {
        self.name = name
        self.groups = groups
    }

    package static let anonymous = User(name: "system:anonymous", groups: ["system:unauthenticated"])
    /// One of our own programs: `system:weft:controllers`, `system:weft:scheduler`.
    package static func component(_ name: String) -> User {
        User(name: "system:weft:\(name)", groups: ["system:authenticated"])
    }
}
