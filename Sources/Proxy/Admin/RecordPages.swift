import Loop
import Wire

/// What happened to requests: those kept, and those that come.
struct RecordPages: Sendable {
    static let most = 1000
    let state: ProgramState

    /// `/requests?id=…`, `?failed`, `?last=N`, and the filters of `tap`: the newest first.
    func requests(_ request: AdminRequest) -> AdminPages.Page {
        do throws(TapFilter.Fault) {
            let most = try request.number("last", in: 1...Self.most, or: 100)
            let filter = try TapFilter(request.query)
            let pages = LabelPages(state.plane.labels, workload: state.configuration?.workload)
            let records = state.plane.records(most: most) { filter.admits($0, pages) }
            let clock = WallClock.read()
            return .json(.array(records.map { $0.json(pages, clock) }))
        } catch {
            return .text("\(error.message)\n", status: 400)
        }
    }

    /// How a stream of records is asked for: `/tap?seconds=60&limit=1000` and filters.
    func tap(_ request: AdminRequest, bell: CInt) -> Result<(tap: Tap, until: UInt64), AdminPages.Refusal> {
        do throws(TapFilter.Fault) {
            let seconds = try request.number("seconds", in: 1...3600, or: 60)
            let most = try request.number("limit", in: 1...1_000_000, or: 10_000)
            let filter = try TapFilter(request.query)
            guard let tap = state.plane.desk.tap(filter, most: most, bell: bell) else {
                return .failure(.init(.text("\(TelemetryDesk.mostTaps) readers watch already\n", status: 503)))
            }
            return .success((tap, Clock.monotonic + UInt64(seconds) * 1_000_000_000))
        } catch {
            return .failure(.init(.text("\(error.message)\n", status: 400)))
        }
    }
}
