/// One header field, as HPACK carries it.
package struct HeaderField: Sendable, Hashable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }

    /// What a dynamic table counts it as (RFC 7541 §4.1).
    var size: Int { name.utf8.count + value.utf8.count + 32 }

    /// RFC 7541, appendix A; index 1 is first.
    static let fixed: [HeaderField] = [
        HeaderField(":authority", ""), HeaderField(":method", "GET"), HeaderField(":method", "POST"),
        HeaderField(":path", "/"), HeaderField(":path", "/index.html"), HeaderField(":scheme", "http"),
        HeaderField(":scheme", "https"), HeaderField(":status", "200"), HeaderField(":status", "204"),
        HeaderField(":status", "206"), HeaderField(":status", "304"), HeaderField(":status", "400"),
        HeaderField(":status", "404"), HeaderField(":status", "500"), HeaderField("accept-charset", ""),
        HeaderField("accept-encoding", "gzip, deflate"), HeaderField("accept-language", ""),
        HeaderField("accept-ranges", ""), HeaderField("accept", ""), HeaderField("access-control-allow-origin", ""),
        HeaderField("age", ""), HeaderField("allow", ""), HeaderField("authorization", ""),
        HeaderField("cache-control", ""), HeaderField("content-disposition", ""),
        HeaderField("content-encoding", ""), HeaderField("content-language", ""), HeaderField("content-length", ""),
        HeaderField("content-location", ""), HeaderField("content-range", ""), HeaderField("content-type", ""),
        HeaderField("cookie", ""), HeaderField("date", ""), HeaderField("etag", ""), HeaderField("expect", ""),
        HeaderField("expires", ""), HeaderField("from", ""), HeaderField("host", ""), HeaderField("if-match", ""),
        HeaderField("if-modified-since", ""), HeaderField("if-none-match", ""), HeaderField("if-range", ""),
        HeaderField("if-unmodified-since", ""), HeaderField("last-modified", ""), HeaderField("link", ""),
        HeaderField("location", ""), HeaderField("max-forwards", ""), HeaderField("proxy-authenticate", ""),
        HeaderField("proxy-authorization", ""), HeaderField("range", ""), HeaderField("referer", ""),
        HeaderField("refresh", ""), HeaderField("retry-after", ""), HeaderField("server", ""),
        HeaderField("set-cookie", ""), HeaderField("strict-transport-security", ""),
        HeaderField("transfer-encoding", ""), HeaderField("user-agent", ""), HeaderField("vary", ""),
        HeaderField("via", ""), HeaderField("www-authenticate", ""),
    ]
}
