import ProxyResources
import Synchronization
import Testing

@testable import Proxy

@Suite struct EndpointHealthTests {
    private static let second: UInt64 = 1_000_000_000

    private static func rules(_ change: (inout OutlierPolicy) -> Void = { _ in }) -> EjectionRules {
        var policy = OutlierPolicy(
            consecutiveErrors: 3, consecutiveLocalFailures: 2, intervalMilliseconds: 10_000,
            ejectionMilliseconds: 30_000, longestEjectionMilliseconds: 100_000)
        change(&policy)
        return EjectionRules(policy)
    }

    @Test("so many errors in a row break the rule; one success starts the count again")
    func consecutive() {
        var health = EndpointHealth(since: 0)
        let rules = Self.rules()
        #expect(health.note(.error, rules) == .none)
        #expect(health.note(.error, rules) == .none)
        #expect(health.isTroubled)
        #expect(health.note(.success, rules) == .none)
        #expect(!health.isTroubled)
        #expect(health.note(.error, rules) == .none)
        #expect(health.note(.gatewayError, rules) == .none)
        #expect(health.note(.localFailure, rules) == .consecutiveErrors)
    }

    @Test("gateway errors count by themselves; another error starts their count again")
    func gateway() {
        var health = EndpointHealth(since: 0)
        let rules = Self.rules {
            $0.consecutiveErrors = 0
            $0.consecutiveGatewayErrors = 2
        }
        #expect(health.note(.gatewayError, rules) == .none)
        #expect(health.note(.error, rules) == .none)
        #expect(health.note(.gatewayError, rules) == .none)
        #expect(health.note(.gatewayError, rules) == .consecutiveGatewayErrors)
    }

    @Test("local failures kept apart do not count as errors, and a connection made starts their count again")
    func apart() {
        var health = EndpointHealth(since: 0)
        let rules = Self.rules { $0.localFailures = .apart }
        #expect(health.note(.localFailure, rules) == .none)
        health.noteConnected()
        #expect(health.note(.localFailure, rules) == .none)
        #expect(health.errors == 0)
        #expect(health.note(.localFailure, rules) == .consecutiveLocalFailures)
    }

    @Test("each ejection lasts longer, up to a limit; each interval of health forgives one")
    func lengths() {
        var health = EndpointHealth(since: 0)
        let rules = Self.rules()
        var now = 5 * Self.second
        health.eject(.consecutiveErrors, rules, at: now)
        #expect(health.awayUntil == now + 30 * Self.second)
        // Again while it is out: no change.
        health.eject(.consecutiveErrors, rules, at: now + Self.second)
        #expect(health.awayUntil == now + 30 * Self.second)
        now = health.awayUntil
        health.eject(.consecutiveErrors, rules, at: now)
        #expect(health.awayUntil == now + 60 * Self.second)
        now = health.awayUntil
        health.eject(.consecutiveErrors, rules, at: now)
        now = health.awayUntil
        health.eject(.consecutiveErrors, rules, at: now)
        #expect(health.awayUntil == now + 100 * Self.second, "four times 30 is more than the longest")
        #expect(health.ejections == 4)
        now = health.awayUntil + 25 * Self.second
        health.eject(.consecutiveErrors, rules, at: now)
        #expect(health.ejections == 3, "two intervals were well")
        now = health.awayUntil + 1000 * Self.second
        health.eject(.consecutiveErrors, rules, at: now)
        #expect(health.awayUntil == now + 30 * Self.second)
    }

    @Test("slow start begins when the ejection is over")
    func since() {
        var health = EndpointHealth(since: 7)
        health.eject(.successRate, Self.rules(), at: 100)
        #expect(health.since == health.awayUntil)
        #expect(health.cause == .successRate)
    }

    @Test("failed checks keep an endpoint away until they pass")
    func checks() {
        var health = EndpointHealth(since: 7)
        let isNews = health.checked(isWell: false, at: 10)
        #expect(isNews && health.awayUntil == .max)
        let again = health.checked(isWell: false, at: 11)
        #expect(!again)
        let isBack = health.checked(isWell: true, at: 20)
        #expect(isBack && health.awayUntil == 0)
        #expect(health.since == 20)
    }

    @Test("not more than the percentage is ejected, but one of several always may be")
    func mostEjected() {
        let rules = Self.rules { $0.mostEjectedPercent = 30 }
        #expect(!rules.mayEject(ejected: 0, of: 1), "never the only one")
        #expect(rules.mayEject(ejected: 0, of: 2))
        #expect(!rules.mayEject(ejected: 1, of: 2))
        #expect(rules.mayEject(ejected: 2, of: 10))
        #expect(!rules.mayEject(ejected: 3, of: 10))
        #expect(!Self.rules { $0.mostEjectedPercent = 0 }.mayEject(ejected: 0, of: 10))
    }

    @Test("the success rate far below the others' is found, by deviation")
    func deviation() {
        let rules = Self.rules {
            $0.successRateDeviationPercent = 190
            $0.rateMinimumRequests = 100
        }
        var counts = [RateOutliers.Count](repeating: .init(succeeded: 990, failed: 10), count: 9)
        counts.append(.init(succeeded: 500, failed: 500))
        #expect(RateOutliers.find(counts, rules).map(\.place) == [9])
        #expect(RateOutliers.find(counts, rules).map(\.cause) == [.successRate])
        // With too few requests, or too few endpoints that have them, nothing is said.
        counts[9] = .init(succeeded: 10, failed: 10)
        #expect(RateOutliers.find(counts, rules).isEmpty)
        #expect(RateOutliers.find(Array(counts.prefix(4)), rules).isEmpty)
        let same = [RateOutliers.Count](repeating: .init(succeeded: 50, failed: 50), count: 9)
        #expect(RateOutliers.find(same, rules).isEmpty, "all alike: nobody stands out")
    }

    @Test("failures above the percentage are found, worst first")
    func failurePercentage() {
        let rules = Self.rules {
            $0.failurePercent = 50
            $0.rateMinimumRequests = 10
            $0.rateMinimumHosts = 3
        }
        let counts: [RateOutliers.Count] = [
            .init(succeeded: 50, failed: 50), .init(succeeded: 90, failed: 10), .init(succeeded: 0, failed: 100),
        ]
        #expect(RateOutliers.find(counts, rules).map(\.place) == [2, 0])
    }

    @Test("verdicts of checks need so many in a row")
    func verdicts() {
        var verdicts = ProbeVerdicts()
        func add(_ isWell: Bool) -> Bool { verdicts.add(isWell: isWell, healthyThreshold: 2, unhealthyThreshold: 3) }
        let changes = [false, false, true, false, false, false, true, false, true, true].map(add)
        #expect(changes == [false, false, false, false, false, true, false, false, false, true])
        #expect(verdicts.isWell)
    }

    @Test("places on the board are used again only when no table names them")
    func places() {
        let board = HealthBoard()
        let first = board.newPlace(at: 1)
        board.hold([first])
        board.hold([first])
        #expect(board.newPlace(at: 1) != first)
        board.release([first])
        #expect(board.newPlace(at: 1) != first)
        board.release([first])
        #expect(board.newPlace(at: 1) == first)
    }

    @Test("the board ejects, tells the loops, and keeps to the limit over all members")
    func board() {
        let board = HealthBoard()
        let rules = Self.rules { $0.mostEjectedPercent = 50 }
        let places = (0..<4).map { _ in board.newPlace(at: 1) }
        board.hold(places)
        let members = places.enumerated().map {
            BalanceMember(endpoint: Int32($0.offset), place: $0.element, weight: 1, group: 0)
        }
        members.withUnsafeBufferPointer { members in
            func fail(_ place: Int, at now: UInt64) -> EjectionCause {
                _ = board.note(places[place], .error, rules, members: members, at: now)
                _ = board.note(places[place], .error, rules, members: members, at: now)
                return board.note(places[place], .error, rules, members: members, at: now)
            }
            let epoch = board.epoch.pointee.load(ordering: .relaxed)
            #expect(fail(0, at: 10) == .consecutiveErrors)
            #expect(board.epoch.pointee.load(ordering: .relaxed) == epoch + 1)
            #expect(fail(1, at: 10) == .consecutiveErrors)
            #expect(fail(2, at: 10) == .none, "two of four are out")
            let until = board.records[Int(places[0])].awayUntil.load(ordering: .relaxed)
            #expect(until == 10 + 30 * Self.second)
            #expect(fail(2, at: until + 1) == .consecutiveErrors, "the others are back")
        }
    }
}
