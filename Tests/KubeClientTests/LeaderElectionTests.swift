import KubeClient
import KubeTypes
import TestSupport
import Testing
import Wire

@Suite("Who leads")
struct CandidacyTests {
    private let wall = Timestamp(seconds: 1_800_000_000)
    private let start = ContinuousClock.now

    private func record(_ holder: String, _ renewed: Int64 = 0, seconds: Int = 15, transitions: Int = 0) -> LeaderRecord
    {
        LeaderRecord(
            holder: holder, seconds: seconds, acquired: wall, renewed: wall + .seconds(renewed),
            transitions: transitions)
    }

    @Test("a free record is taken, an own one renewed, another's left until it has not changed for its time")
    func claims() {
        var me = Candidacy(identity: "me", timing: LeaderTiming())
        me.see(nil, at: start)
        #expect(me.claim(at: start, wallClock: wall) == record("me"))
        me.see(record("me"), at: start)
        #expect(me.isLeader)
        let later = me.claim(at: start + .seconds(2), wallClock: wall + .seconds(2))
        #expect(later == record("me", 2), "when it was acquired stays")

        me.see(record("other", transitions: 3), at: start)
        #expect(me.leader == "other")
        #expect(me.claim(at: start + .seconds(14), wallClock: wall) == nil)
        // Seen again unchanged: the clock does not start anew.
        me.see(record("other", transitions: 3), at: start + .seconds(14))
        #expect(me.claim(at: start + .seconds(15), wallClock: wall)?.transitions == 4)
        // Renewed: it does, whatever the other's clock says.
        me.see(record("other", -9999, transitions: 3), at: start + .seconds(14))
        #expect(me.claim(at: start + .seconds(28), wallClock: wall) == nil)
        // Its own time counts, not ours.
        me.see(record("other", seconds: 60), at: start)
        #expect(me.claim(at: start + .seconds(59), wallClock: wall) == nil)
        // Given up.
        me.see(record("", seconds: 1, transitions: 5), at: start)
        #expect(me.claim(at: start, wallClock: wall)?.transitions == 6)
    }

    @Test("only who leads can resign")
    func resignations() {
        var me = Candidacy(identity: "me", timing: LeaderTiming())
        #expect(me.resignation(wallClock: wall) == nil)
        me.see(record("other"), at: start)
        #expect(me.resignation(wallClock: wall) == nil)
        me.see(record("me", transitions: 2), at: start)
        let given = me.resignation(wallClock: wall)
        #expect(given?.holder == "" && given?.seconds == 1 && given?.transitions == 2)
    }

    @Test("a record is read as it was written, in each kind of object", arguments: LeaderLock.allCases)
    func records(_ lock: LeaderLock) throws {
        var object = KubeObject(
            apiVersion: lock.type.apiVersion, kind: lock.type.kind, namespace: "default", name: "election")
        object.json[path: ["metadata", "annotations", "other"]] = "stays"
        #expect(lock.record(in: object) == nil)
        let written = record("me", 3, transitions: 4)
        lock.write(written, into: &object)
        #expect(lock.record(in: object) == written)
        #expect(object.metadata["annotations"]?["other"]?.string == "stays")
        guard lock != .lease else {
            #expect(object.spec["renewTime"]?.string == "2027-01-15T08:00:03.000000Z")
            return
        }
        // What the older clients write and read.
        #expect(
            object.metadata["annotations"]?["control-plane.alpha.kubernetes.io/leader"]?.string
                == #"{"holderIdentity":"me","leaseDurationSeconds":15,"acquireTime":"2027-01-15T08:00:00Z","renewTime":"2027-01-15T08:00:03Z","leaderTransitions":4}"#
        )
        object.json[path: ["metadata", "annotations", LeaderLock.annotation]] = "not json"
        #expect(lock.record(in: object) == nil)
    }
}

@Suite("Leader election")
struct LeaderElectorTests {
    private let key = ObjectKey(namespace: "default", name: "election")
    private let timing = LeaderTiming(lease: .seconds(2), renewDeadline: .milliseconds(1500), retry: .milliseconds(50))

    /// Leads until cancelled, and notes it.
    private func run(_ elector: LeaderElector, _ name: String, _ leading: Shared<[String]>) -> Task<Void, Never> {
        Task {
            await elector.lead {
                leading.withLock { $0.append("+\(name)") }
                while (try? await Task.sleep(for: .seconds(60))) != nil {}
                leading.withLock { $0.append("-\(name)") }
            }
        }
    }

    @Test("of many one leads at a time, and one that ends is followed at once", arguments: LeaderLock.allCases)
    func oneAtATime(_ lock: LeaderLock) async throws {
        let api = MemoryAPI()
        let leading = Shared<[String]>([])
        let names = (0..<4).map { "c\($0)" }
        let electors = names.map { LeaderElector(api, key, identity: $0, lock: lock, timing: timing) }
        let tasks = zip(electors, names).map { run($0, $1, leading) }
        var gone: Set<Int> = []
        for round in 0..<3 {
            #expect(await eventually { leading.withLock { $0.count } == 2 * round + 1 })
            let leader = String(leading.withLock { $0.last ?? "" }.dropFirst())
            let place = try #require(names.firstIndex(of: leader))
            let candidates = electors.indices.filter { !gone.contains($0) }
            #expect(await eventually { candidates.allSatisfy { electors[$0].leader == leader } }, "all know who leads")
            gone.insert(place)
            tasks[place].cancel()
            await tasks[place].value
        }
        tasks.forEach { $0.cancel() }
        for task in tasks { await task.value }
        // Each began after the one before had ended.
        let events = leading.withLock { $0 }
        for place in stride(from: 0, to: events.count - 1, by: 2) {
            #expect(events[place].dropFirst() == events[place + 1].dropFirst() && events[place + 1].hasPrefix("-"))
        }
        let record = try #require(lock.record(in: try await api.get(lock.type, key)))
        #expect(record.transitions >= 2)
    }

    @Test("a leader that cannot renew ends before another may begin")
    func lost() async throws {
        let api = MemoryAPI()
        let leading = Shared<[String]>([])
        let elector = LeaderElector(api, key, identity: "one", timing: timing)
        let task = run(elector, "one", leading)
        #expect(await eventually { leading.withLock { $0 } == ["+one"] })
        api.refuse { _ in APIFailure(code: 500, reason: "InternalError", message: "away") }
        let began = ContinuousClock.now
        await task.value
        #expect(leading.withLock { $0 } == ["+one", "-one"])
        #expect(ContinuousClock.now - began >= .seconds(1), "it was patient first")
        api.refuse(nil)
        // Its record still holds for others, and is free when it has not changed for its time.
        let other = LeaderElector(api, key, identity: "two", timing: timing)
        let next = run(other, "two", leading)
        #expect(await eventually { leading.withLock { $0.last } == "+two" })
        next.cancel()
        await next.value
    }

    @Test("a record somebody else has taken ends the lead")
    func taken() async throws {
        let api = MemoryAPI()
        let leading = Shared<[String]>([])
        let task = run(LeaderElector(api, key, identity: "one", timing: timing), "one", leading)
        #expect(await eventually { leading.withLock { $0 } == ["+one"] })
        let isTaken = try await eventually {
            do {
                var lease = try await api.get(.leases, key)
                LeaderLock.lease.write(LeaderRecord(holder: "two", seconds: 600, renewed: .now()), into: &lease)
                _ = try await api.update(.leases, lease)
                return true
            } catch let failure as APIFailure where failure.isConflict {
                return false
            }
        }
        #expect(isTaken)
        await task.value
        #expect(leading.withLock { $0 } == ["+one", "-one"])
        #expect(LeaderLock.lease.record(in: try await api.get(.leases, key))?.holder == "two")
    }
}
