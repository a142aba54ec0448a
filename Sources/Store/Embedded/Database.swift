import CSQLite
import Glibc

/// One SQLite connection, used by one thread at a time.
final class Database {
    private let handle: OpaquePointer
    let path: String

    /// `mayCreate`: otherwise the file must be there.
    init(path: String, mayCreate: Bool = true) throws(StoreFailure) {
        var opened: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (mayCreate ? SQLITE_OPEN_CREATE : 0)
        let code = sqlite3_open_v2(path, &opened, flags, nil)
        guard code == SQLITE_OK, let opened else {
            let why = opened.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
            sqlite3_close(opened)
            throw .unusable("store \(path) cannot be opened: \(why)")
        }
        handle = opened
        self.path = path
        sqlite3_busy_timeout(handle, 5000)
    }

    deinit { sqlite3_close(handle) }

    func execute(_ text: String) throws(StoreFailure) {
        if sqlite3_exec(handle, text, nil, nil, nil) != SQLITE_OK { throw failure() }
    }

    func prepare(_ text: String) throws(StoreFailure) -> Statement {
        var prepared: OpaquePointer?
        let code = sqlite3_prepare_v3(handle, text, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil)
        guard code == SQLITE_OK, let prepared else { throw failure() }
        return Statement(prepared, of: self)
    }

    /// Copies the write-ahead log into the file as far as nobody who reads or writes is in the way.
    ///
    /// - Returns: how many pages the log has, and how many of them are copied.
    func checkpoint() throws(StoreFailure) -> (pages: Int, copied: Int) {
        var pages: CInt = 0
        var copied: CInt = 0
        switch sqlite3_wal_checkpoint_v2(handle, nil, SQLITE_CHECKPOINT_PASSIVE, &pages, &copied) {
        case SQLITE_OK, SQLITE_BUSY: return (Int(pages), Int(copied))
        default: throw failure()
        }
    }

    /// Calls `body` after each commit of this connection with the number of pages the write-ahead log has then. `body` and this
    /// connection end together.
    func afterCommit(_ body: UnsafeMutableRawPointer, _ call: @escaping AfterCommit) {
        sqlite3_wal_hook(handle, call, body)
    }
    typealias AfterCommit =
        @convention(c) (UnsafeMutableRawPointer?, OpaquePointer?, UnsafePointer<CChar>?, CInt) -> CInt

    func failure() -> StoreFailure {
        let system = sqlite3_system_errno(handle)
        let text = String(cString: sqlite3_errmsg(handle))
        switch sqlite3_errcode(handle) & 0xFF {
        case SQLITE_FULL: return .diskFull(path: path)
        // Quotas and limits on a file's size come as write errors.
        case SQLITE_IOERR where system == ENOSPC || system == EDQUOT || system == EFBIG: return .diskFull(path: path)
        case SQLITE_IOERR where system != 0:
            return .unusable("store \(path): \(text): \(String(cString: strerror(system)))")
        case SQLITE_CORRUPT, SQLITE_NOTADB: return .damaged(path: path, what: text)
        default: return .unusable("store \(path): \(text)")
        }
    }
}

/// A prepared statement. Ended before its database.
final class Statement {
    private let handle: OpaquePointer
    private let database: Database

    init(_ handle: OpaquePointer, of database: Database) {
        self.handle = handle
        self.database = database
    }

    deinit { sqlite3_finalize(handle) }

    /// Makes SQLite copy what is bound.
    private static let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

    func bind(_ place: CInt, _ value: Int64) { sqlite3_bind_int64(handle, place, value) }
    func bind(_ place: CInt, _ text: String) {
        _ = Array(text.utf8).withUnsafeBytes {
            sqlite3_bind_text64(
                handle, place, $0.baseAddress?.assumingMemoryBound(to: CChar.self), UInt64($0.count), Self.transient,
                UInt8(SQLITE_UTF8))
        }
    }
    /// `nil` binds NULL; no bytes bind an empty blob.
    func bind(_ place: CInt, _ bytes: [UInt8]?) {
        guard let bytes else {
            sqlite3_bind_null(handle, place)
            return
        }
        if bytes.isEmpty {
            sqlite3_bind_zeroblob(handle, place, 0)
            return
        }
        _ = bytes.withUnsafeBytes {
            sqlite3_bind_blob64(handle, place, $0.baseAddress, UInt64($0.count), Self.transient)
        }
    }

    /// Runs to the end with a text and a blob that SQLite reads where they are, and makes the statement ready again.
    func run(
        _ text: (place: CInt, value: String), _ blob: (place: CInt, value: [UInt8]?)
    ) throws(StoreFailure) {
        var string = text.value
        let code = string.withUTF8 { letters -> CInt in
            letters.withMemoryRebound(to: CChar.self) { letters in
                _ = sqlite3_bind_text64(
                    handle, text.place, letters.baseAddress, UInt64(letters.count), nil, UInt8(SQLITE_UTF8))
                guard let value = blob.value, !value.isEmpty else {
                    if blob.value == nil {
                        sqlite3_bind_null(handle, blob.place)
                    } else {
                        sqlite3_bind_zeroblob(handle, blob.place, 0)
                    }
                    return sqlite3_step(handle)
                }
                return value.withUnsafeBytes { bytes in
                    sqlite3_bind_blob64(handle, blob.place, bytes.baseAddress, UInt64(bytes.count), nil)
                    return sqlite3_step(handle)
                }
            }
        }
        if code == SQLITE_DONE {
            sqlite3_reset(handle)
            return
        }
        let failure = database.failure()
        sqlite3_reset(handle)
        throw failure
    }

    /// Moves to the next row; `false` after the last.
    func step() throws(StoreFailure) -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        default:
            let failure = database.failure()
            sqlite3_reset(handle)
            throw failure
        }
    }

    /// Runs to the end and makes the statement ready again.
    func run() throws(StoreFailure) {
        while try step() {}
        sqlite3_reset(handle)
    }

    func integer(_ column: CInt) -> Int64 { sqlite3_column_int64(handle, column) }
    func text(_ column: CInt) -> String { sqlite3_column_text(handle, column).map { String(cString: $0) } ?? "" }
    func bytes(_ column: CInt) -> [UInt8]? {
        if sqlite3_column_type(handle, column) == SQLITE_NULL { return nil }
        let count = Int(sqlite3_column_bytes(handle, column))
        guard count > 0, let start = sqlite3_column_blob(handle, column) else { return [] }
        return Array(UnsafeRawBufferPointer(start: start, count: count))
    }
}
