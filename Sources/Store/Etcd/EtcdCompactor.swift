import Logging
import Wire

/// Has etcd give up old history, once in an interval however many servers share it: who writes the common key does it, and the key
/// tells the others up to where.
///
/// The key and what is in it are those of Kubernetes' API servers, so that one of either kind does it for both.
struct EtcdCompactor {
    /// What a server knows from one turn to the next.
    struct Turn: Equatable {
        /// How often the key was written when it was last looked at.
        var version: Int64 = 0
        /// The latest revision then: to be given up at the next turn; 0 is none.
        var next: Int64 = 0
        /// Up to here history has been given up, by whomever.
        var compacted: Int64 = 0
    }

    private static let key = Array("compact_rev_key".utf8)

    let client: EtcdClient
    let memory: Memory
    let logger: Logger

    func run(_ age: HistoryAge) async {
        var turn = Turn()
        await age.run {
            do throws(StoreFailure) {
                turn = try await compact(after: turn)
                memory.compact(to: turn.compacted)
            } catch {
                logger.warning("etcd's history was not compacted", metadata: ["reason": "\(error)"])
            }
        }
    }

    func compact(after last: Turn) async throws(StoreFailure) -> Turn {
        let transaction = EtcdRequest.Transaction(
            key: Self.key, condition: .version(last.version),
            success: .put(key: Self.key, value: Array("\(last.next)".utf8), lease: 0),
            failure: .range(.init(key: Self.key)))
        let answer = try await client.ask("/etcdserverpb.KV/Txn", transaction.bytes)
        let response = try EtcdFeed.decoded { () throws(ProtobufFault) in try EtcdTransactionResponse(answer.bytes) }
        guard response.succeeded else {
            // Somebody was faster, and says what goes; or its server ended before it went, and the next turn of ours is due.
            let said = response.current.flatMap { Int64(String(decoding: $0.value, as: UTF8.self)) } ?? 0
            return Turn(version: response.current?.version ?? 0, next: response.revision, compacted: said)
        }
        if last.next > 0 {
            do throws(StoreFailure) {
                _ = try await client.ask("/etcdserverpb.KV/Compact", EtcdRequest.compact(to: last.next))
            } catch {
                guard case .expired = error else { throw error }
            }
        }
        return Turn(version: last.version + 1, next: response.revision, compacted: last.next)
    }
}
