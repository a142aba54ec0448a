import ProxyResources
import Wire

struct ClaimEntry {
    var key: TextRange
    var value: TextRange
}

/// A verified token's claims, flat: plain memory that policies look at.
struct LiveToken {
    static let mostClaims = 512
    static let deepest = 8

    var text: UnsafeMutablePointer<UInt8>
    var textCount: Int
    var claims: UnsafeMutablePointer<ClaimEntry>
    var claimCount: Int
    /// `issuer/subject`
    var principal: TextRange

    static var audienceKey: ByteView { key("aud") }
    static var presenterKey: ByteView { key("azp") }

    private static func key(_ text: StaticString) -> ByteView {
        ByteView(start: text.utf8Start, count: text.utf8CodeUnitCount)
    }

    /// Claims beyond `mostClaims`, or nested deeper than `deepest`, match nothing.
    init(_ token: JSON) {
        var builder = Builder()
        let name = builder.add(TokenClaims.principal(token))
        builder.walk(token, [])
        principal = name
        text = plain(builder.text)
        textCount = builder.text.count
        claims = plain(builder.claims)
        claimCount = builder.claims.count
    }

    func view(_ range: TextRange) -> ByteView { ByteView(start: text + Int(range.offset), count: Int(range.count)) }

    /// In memory, about.
    var size: Int { textCount + claimCount * MemoryLayout<ClaimEntry>.stride }

    func deallocate() {
        text.deallocate()
        claims.deallocate()
    }

    private struct Builder {
        var text: [UInt8] = []
        var claims: [ClaimEntry] = []

        mutating func add(_ string: String) -> TextRange {
            let range = TextRange(offset: Int32(text.count), count: Int32(string.utf8.count))
            text += Array(string.utf8)
            return range
        }

        mutating func walk(_ value: JSON, _ names: [String]) {
            guard let object = value.object, names.count < LiveToken.deepest else { return }
            var seen: Set<String> = []
            for member in object where !member.key.contains(AccessTest.separator) && seen.insert(member.key).inserted {
                let path = names + [member.key]
                if member.value.object != nil {
                    walk(member.value, path)
                    continue
                }
                let range = add(path.joined(separator: AccessTest.separator))
                for found in TokenClaims.texts(of: member.value, path) {
                    if claims.count >= LiveToken.mostClaims { return }
                    claims.append(ClaimEntry(key: range, value: add(found)))
                }
            }
        }
    }
}
