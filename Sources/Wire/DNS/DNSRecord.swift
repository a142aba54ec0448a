/// The kind of a record, or of a question (RFC 1035 §3.2.2).
package struct DNSType: RawRepresentable, Sendable, Hashable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let a = DNSType(rawValue: 1)
    package static let ns = DNSType(rawValue: 2)
    package static let cname = DNSType(rawValue: 5)
    package static let soa = DNSType(rawValue: 6)
    package static let ptr = DNSType(rawValue: 12)
    package static let txt = DNSType(rawValue: 16)
    package static let aaaa = DNSType(rawValue: 28)
    package static let srv = DNSType(rawValue: 33)
    package static let opt = DNSType(rawValue: 41)
    package static let any = DNSType(rawValue: 255)
}

package struct DNSRecord: Sendable, Hashable {
    package var name: DNSName
    package var recordClass: UInt16
    package var ttl: UInt32  // seconds
    package var data: DNSData

    package init(_ name: DNSName, ttl: UInt32, _ data: DNSData, recordClass: UInt16 = 1) {
        self.name = name
        self.recordClass = recordClass
        self.ttl = ttl
        self.data = data
    }

    package var type: DNSType { data.type }
}

package enum DNSData: Sendable, Hashable {
    case a(UInt32)  // host byte order
    case aaaa([UInt8])  // 16 bytes
    case ns(DNSName)
    case cname(DNSName)
    case ptr(DNSName)
    case srv(DNSService)
    case txt([[UInt8]])  // strings of up to 255 bytes
    case soa(DNSAuthority)
    /// Any other type, its bytes as they came.
    case other(DNSType, [UInt8])

    package var type: DNSType {
        switch self {
        case .a: .a
        case .aaaa: .aaaa
        case .ns: .ns
        case .cname: .cname
        case .ptr: .ptr
        case .srv: .srv
        case .txt: .txt
        case .soa: .soa
        case .other(let type, _): type
        }
    }
}

/// Where a service is to be found (RFC 2782).
package struct DNSService: Sendable, Hashable {
    package var priority: UInt16
    package var weight: UInt16
    package var port: UInt16
    package var target: DNSName
    package init(priority: UInt16 = 0, weight: UInt16, port: UInt16, target: DNSName) {
        self.priority = priority
        self.weight = weight
        self.port = port
        self.target = target
    }
}

/// The start of a zone; `minimum` is how many seconds an absent name may be remembered (RFC 2308 §4).
package struct DNSAuthority: Sendable, Hashable {
    package var primary: DNSName
    package var mailbox: DNSName
    package var serial: UInt32
    package var refresh: UInt32
    package var retry: UInt32
    package var expire: UInt32
    package var minimum: UInt32
    package init(
        primary: DNSName, mailbox: DNSName, serial: UInt32, refresh: UInt32, retry: UInt32, expire: UInt32,
        minimum: UInt32
    ) {
        self.primary = primary
        self.mailbox = mailbox
        self.serial = serial
        self.refresh = refresh
        self.retry = retry
        self.expire = expire
        self.minimum = minimum
    }
}
