import Logging
import Wire

/// Has etcd give up old history, once in an interval however many servers share it: who writes the common key does it.
///
/// The key and what is in it are those of Kubernetes' API servers, so that one of either kind does it for both.
struct EtcdCompactor {
    private static let key = Array("compact_rev_key".utf8)

    let client: EtcdClient
    let logger: Logger

    /// Until the task is cancelled. What is given up is as old as one to two intervals.
    func run(every interval: Duration) async {
        var turn: Int64 = 0
        var revision: Int64 = 0
        while !Task.isCancelled {
            guard (try? await Task.sleep(for: interval)) != nil else { return }
            do throws(StoreFailure) {
                (turn, revision) = try await compact(turn: turn, to: revision)
            } catch {
                logger.warning("etcd's history was not compacted", metadata: ["reason": "\(error)"])
            }
        }
    }

    /// - Parameter turn: how often the key was written when it was last looked at.
    /// - Returns: the turn, and the revision to give up at the next.
    func compact(turn: Int64, to revision: Int64) async throws(StoreFailure) -> (turn: Int64, revision: Int64) {
        let transaction = EtcdRequest.Transaction(
            key: Self.key, condition: .version(turn),
            success: .put(key: Self.key, value: Array("\(revision)".utf8), lease: 0),
            failure: .range(.init(key: Self.key)))
        let answer = try await client.ask("/etcdserverpb.KV/Txn", transaction.bytes)
        let response = try EtcdFeed.decoded { () throws(ProtobufFault) in try EtcdTransactionResponse(answer.bytes) }
        guard response.succeeded else { return (response.current?.version ?? 0, response.revision) }
        if revision > 0 {
            do throws(StoreFailure) {
                _ = try await client.ask("/etcdserverpb.KV/Compact", EtcdRequest.compact(to: revision))
            } catch {
                guard case .expired = error else { throw error }
            }
        }
        return (turn + 1, response.revision)
    }
}
