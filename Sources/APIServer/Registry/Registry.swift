import KubeClient
import KubeTypes
import Logging
import Store
import Synchronization
import Wire

/// Every kind's storage behind the same rules: names, versions, admission, validation, deletion. Kinds differ by their definitions only.
final class Registry: Sendable {
    let store: any Store
    let serviceRange: ServiceRange
    let logger: Logger
    /// Listings being paged through, each with the store as it was at its first page.
    let pages = PageSnapshots()
    /// Tells those who keep something made of a kind's objects that it has changed.
    let writes = KindWrites()
    private let content: Mutex<PublishedCatalog>
    /// Held by whoever changes `content`.
    private let publishing = Mutex(())
    private let chain: Mutex<AdmissionChain>
    private let conversion = Mutex<ObjectConverter?>(nil)

    /// `nil`: everything is stored as it is.
    let encryption: EncryptionAtRest?

    init(
        store: any Store, catalog: SchemaCatalog, serviceRange: ServiceRange, encryption: EncryptionAtRest? = nil,
        logger: Logger
    ) {
        self.store = store
        self.encryption = encryption
        self.serviceRange = serviceRange
        self.logger = logger
        content = Mutex(PublishedCatalog(catalog))
        chain = Mutex(AdmissionChain())
    }

    var published: PublishedCatalog { content.withLock { $0 } }
    var catalog: SchemaCatalog { published.catalog }

    /// Serves other kinds from now on, or other groups of other servers.
    func publish(_ change: (PublishedCatalog) -> (SchemaCatalog, remote: RemoteGroups)) {
        // Readers go on with what there was while the new is made.
        publishing.withLock { _ in
            let before = published
            let (catalog, remote) = change(before)
            let after = PublishedCatalog(catalog, remote: remote, after: before)
            content.withLock { $0 = after }
        }
    }
    var admission: AdmissionChain {
        get { chain.withLock { $0 } }
        set { chain.withLock { $0 = newValue } }
    }

    /// Asks the webhooks that convert custom kinds.
    var converter: ObjectConverter? {
        get { conversion.withLock { $0 } }
        set { conversion.withLock { $0 = newValue } }
    }

    func definition(of type: ResourceType) throws(APIFailure) -> ResourceDefinition {
        if let found = catalog.definition(of: type) { return found }
        throw APIFailure(
            code: 404, reason: "NotFound", message: "the server could not find the requested resource (\(type))",
            details: [:])
    }

    func exists(_ type: ResourceType, _ key: ObjectKey) -> Bool { store.get(StorageKey.key(type, key)) != nil }
}

/// Who writes and how: what the query parameters of a write say.
struct WriteContext: Sendable {
    var user: User
    var isDryRun = false
    var fieldManager = ""
    var fieldValidation = FieldValidation.warn
    /// Server-side apply takes fields from other managers.
    var force = false
    /// The object's record of managers is up to date already.
    var isApply = false
    /// Admission has been asked about what this write is a part of.
    var isAdmitted = false
    /// What a deletion asks beside.
    var deletion: DeleteOptions?
    /// Called with each warning for the client.
    var warn: @Sendable (String) -> Void = { _ in }
    /// Called with what the audit log shall say.
    var annotate: @Sendable (_ key: String, _ value: String) -> Void = { _, _ in }

    init(user: User) { self.user = user }
}

/// Where objects are in the store, by their storage type: `/registry/apps/deployments/demo/web`; the core group has no element.
enum StorageKey {
    static func scope(_ type: ResourceType, namespace: String = "") -> String {
        let kind = type.group.isEmpty ? "/registry/\(type.resource)/" : "/registry/\(type.group)/\(type.resource)/"
        return namespace.isEmpty || !type.isNamespaced ? kind : "\(kind)\(namespace)/"
    }

    static func key(_ type: ResourceType, _ key: ObjectKey) -> String {
        scope(type, namespace: key.namespace) + key.name
    }
}

extension Registry {
    /// A record as an object of the asked version.
    func object(_ record: Record, as definition: ResourceDefinition, keeping: Bool = false) -> KubeObject {
        definition.presented(KubeObject(record.decoded(keeping: keeping, decode)))
    }

    private func decode(_ record: Record) -> JSON {
        // The store holds what we wrote; a record we cannot read shows as an empty object rather than ending the server.
        var json = (try? JSON(parsing: plainValue(record))) ?? [:]
        json[path: ["metadata", "resourceVersion"]] = .string(String(record.revision))
        return json
    }

    func failure(_ failure: StoreFailure, _ type: ResourceType, _ name: String) -> APIFailure {
        switch failure {
        case .exists: return .alreadyExists(type, name)
        case .missing: return .notFound(type, name)
        case .changed: return .conflict(type, name, Self.changedText)
        case .expired: return .expired("\(failure)")
        case .diskFull: return APIFailure(code: 507, reason: "InsufficientStorage", message: "\(failure)")
        case .closed: return .serverClosing
        case .unavailable: return APIFailure(code: 503, reason: "ServiceUnavailable", message: "\(failure)")
        case .future(let asked, let latest): return Self.tooLarge(asked, latest)
        case .unusable, .damaged, .leaseMissing: return .internalError("\(failure)")
        }
    }

    static let changedText =
        "the object has been modified; please apply your changes to the latest version and try again"
}

extension APIFailure {
    static let serverClosing = APIFailure(
        code: 503, reason: "ServiceUnavailable", message: "the server is shutting down",
        details: ["retryAfterSeconds": 1])
    var isServerClosing: Bool { self == .serverClosing }
}
