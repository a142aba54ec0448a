import CNftables
import Glibc
import Kernel
import Synchronization

/// Commands nftables refused, and what it said.
package struct NftablesFailed: Error, Sendable, CustomStringConvertible {
    package let message: String
    package var description: String { "nftables: \(message)" }
}

/// libnftables, in the network namespace the thread was in that made this value. Use it on that thread only: the library
/// may open its socket again. It waits with `select`: the thread must have private descriptors (`NetworkNamespace.run`).
struct Nftables: ~Copyable {
    private let context: OpaquePointer

    /// The library keeps tables of its own beside its contexts, so it works for one thread at a time.
    private static let library = Mutex(())

    init() throws(NftablesFailed) {
        let made = Self.library.withLock { _ in nft_ctx_new(UInt32(NFT_CTX_DEFAULT)) }
        guard let made else { throw NftablesFailed(message: "no context: out of memory, or not root") }
        context = made
        nft_ctx_buffer_error(context)
        nft_ctx_buffer_output(context)
    }

    /// Runs the commands as one transaction: all of them, or none.
    func run(_ commands: String) throws(NftablesFailed) {
        let code = Self.library.withLock { _ in nft_run_cmd_from_buffer(context, commands) }
        if code == 0 { return }
        let said = nft_ctx_get_error_buffer(context).map { String(cString: $0) } ?? ""
        // The first two lines name the fault and the command; with thousands of commands there is much more.
        let lines = said.split(separator: "\n").prefix(2).joined(separator: ": ")
        throw NftablesFailed(message: lines.isEmpty ? "refused, without a reason" : String(lines.prefix(600)))
    }

    /// What a `list` command prints.
    func list(_ command: String) throws(NftablesFailed) -> String {
        try run(command)
        return nft_ctx_get_output_buffer(context).map { String(cString: $0) } ?? ""
    }

    deinit { Self.library.withLock { _ in nft_ctx_free(context) } }
}

extension Nftables {
    /// Puts commands into effect in a namespace, in one transaction, from any thread.
    static func run(_ commands: String, in path: String) throws(NetworkFailure) {
        var failure: NftablesFailed?
        do throws(SystemCallFailed) {
            try NetworkNamespace.run(in: path, privateDescriptors: true) {
                do throws(NftablesFailed) { try Nftables().run(commands) } catch { failure = error }
            }
        } catch {
            throw NetworkFailure("\(error)")
        }
        if let failure { throw NetworkFailure("\(failure) (in \(path))") }
    }
}
