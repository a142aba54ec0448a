import CZlib
import Wire

/// The two compressions of one session's header blocks (SPDY/3.1 §2.6.10.1): zlib streams that go on from block to block.
///
/// `@unchecked Sendable`: used by one task at a time each way; see `SPDYSession`.
final class SPDYCompression: @unchecked Sendable {
    /// A block that becomes longer ends the session.
    private static let longest = 64 << 10
    private let inflater = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    private let deflater = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)

    init() throws(SPDYFault) {
        inflater.initialize(to: z_stream())
        deflater.initialize(to: z_stream())
        let size = CInt(MemoryLayout<z_stream>.size)
        let codes = [
            inflateInit_(inflater, ZLIB_VERSION, size), deflateInit_(deflater, Z_BEST_SPEED, ZLIB_VERSION, size),
        ]
        guard codes == [Z_OK, Z_OK] else {
            throw SPDYFault("the session's compression does not begin (zlib says \(codes))")
        }
        deflateSetDictionary(deflater, Self.dictionary, CUnsignedInt(Self.dictionary.count))
    }

    deinit {
        inflateEnd(inflater)
        deflateEnd(deflater)
        inflater.deallocate()
        deflater.deallocate()
    }

    func decompress(_ block: [UInt8]) throws(SPDYFault) -> [UInt8] {
        var whole: [UInt8] = []
        var space = [UInt8](repeating: 0, count: 4096)
        var input = block
        let code = input.withUnsafeMutableBufferPointer { input -> CInt in
            inflater.pointee.next_in = input.baseAddress
            inflater.pointee.avail_in = CUnsignedInt(input.count)
            while true {
                let code = space.withUnsafeMutableBufferPointer { space -> CInt in
                    inflater.pointee.next_out = space.baseAddress
                    inflater.pointee.avail_out = CUnsignedInt(space.count)
                    return inflate(inflater, Z_SYNC_FLUSH)
                }
                whole += space.prefix(space.count - Int(inflater.pointee.avail_out))
                if code == Z_NEED_DICT {
                    let chosen = inflateSetDictionary(inflater, Self.dictionary, CUnsignedInt(Self.dictionary.count))
                    if chosen != Z_OK { return chosen }
                    continue
                }
                if code != Z_OK && code != Z_BUF_ERROR { return code }
                if whole.count > Self.longest { return Z_MEM_ERROR }
                if inflater.pointee.avail_in == 0 && inflater.pointee.avail_out > 0 { return Z_OK }
                if code == Z_BUF_ERROR { return code }
            }
        }
        if code != Z_OK { throw SPDYFault("a header block does not decompress (zlib says \(code))") }
        return whole
    }

    func compress(_ bytes: [UInt8]) -> [UInt8] {
        var input = bytes
        var whole: [UInt8] = []
        var space = [UInt8](repeating: 0, count: 4096)
        input.withUnsafeMutableBufferPointer { input in
            deflater.pointee.next_in = input.baseAddress
            deflater.pointee.avail_in = CUnsignedInt(input.count)
            repeat {
                space.withUnsafeMutableBufferPointer { space in
                    deflater.pointee.next_out = space.baseAddress
                    deflater.pointee.avail_out = CUnsignedInt(space.count)
                    _ = deflate(deflater, Z_SYNC_FLUSH)
                }
                whole += space.prefix(space.count - Int(deflater.pointee.avail_out))
            } while deflater.pointee.avail_out == 0
        }
        return whole
    }

    /// What both ends know before the first block: words with their lengths, then more text.
    static let dictionary: [UInt8] = {
        let words = """
            options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow \
            authorization cache-control connection content-base content-encoding content-language content-length \
            content-location content-md5 content-range content-type date etag expect expires from host if-match \
            if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
            proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
            user-agent vary via warning www-authenticate method get status
            """
        let later = ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"]
        let numbers = """
            100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505
            """
        let phrases = """
            203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
            403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
            Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
            chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,\
            publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.
            """
        var bytes: [UInt8] = []
        for word in words.split(separator: " ").map(String.init) + later {
            bytes += [0, 0, 0, UInt8(word.utf8.count)]
            bytes += Array(word.utf8)
        }
        return bytes + Array(numbers.utf8) + Array(phrases.utf8)
    }()
}
