import Proxy

/// The file of a proxy that stands alone: it is taken, or refused with a fault that names it.
enum ConfigurationTarget {
    static func run(_ input: Input) {
        do { _ = try ConfigurationFile(parsing: Array(input), name: "fuzz") } catch {
            precondition("\(error)".hasPrefix("fuzz"), "a fault that does not name the file")
        }
    }
}
