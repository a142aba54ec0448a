/// Why the store did not do what was asked.
package enum StoreFailure: Error, Sendable, Hashable, CustomStringConvertible {
    case exists(key: String)
    case missing(key: String)
    /// The key has another revision than the writer saw.
    case changed(key: String, revision: Int64)
    /// The history asked for is gone: read again and watch from there.
    case expired(asked: Int64, oldest: Int64)
    /// That revision has not been written yet.
    case future(asked: Int64, latest: Int64)
    case leaseMissing(Int64)
    case diskFull(path: String)
    /// What is on the disk is not what was written.
    case damaged(path: String, what: String)
    /// Nobody who keeps the data answers; a write may or may not have been done.
    case unavailable(String)
    case unusable(String)
    case closed

    package var description: String {
        switch self {
        case .exists(let key): "key \(key) exists"
        case .missing(let key): "key \(key) not found"
        case .changed(let key, let revision): "key \(key) is at revision \(revision) now"
        case .expired(let asked, let oldest): "too old resource version: \(asked) (\(oldest))"
        case .future(let asked, let latest): "revision \(asked) is not written yet: the latest is \(latest)"
        case .leaseMissing(let id): "lease \(id) not found: it ran out or was revoked"
        case .diskFull(let path):
            "no space left on the disk of \(path): nothing was written, what was stored before is safe"
        case .damaged(let path, let what):
            "store \(path) is damaged: \(what); see what else with 'meshctl store verify', and put back a copy with"
                + " 'meshctl store restore'"
        case .unavailable(let why), .unusable(let why): why
        case .closed: "the store is closed"
        }
    }
}

/// What a write expects to find.
package enum Expectation: Sendable, Hashable { case absent, revision(Int64), present }
