import Glibc
import Wire

/// What a response's head gets: the changes of its route or backend, and lines for CORS.
struct ResponseEdits {
    var runs = EditRuns()
    var linesLength = 0
    var grantedLength = 0
    var room: Int { Int(runs.bytes) &+ linesLength &+ grantedLength }
}

extension Engine {
    /// The changes to a request's head; those for its backend hold the rule's too.
    @inline(__always)
    func requestEdits(_ client: Conn, _ arrays: TableView?, _ rule: RuleEntry?) -> EditRuns {
        guard let rule, let arrays else { return EditRuns() }
        let weight = client.pointee.choice.weight
        if weight >= 0 {
            let edits = arrays.pointee.weights[Int(weight)].edits
            if edits >= 0 {
                let entry = arrays.pointee.routes.backendEdits[Int(edits)]
                if !entry.response.isEmpty { client.pointee.editsResponse = true }
                return entry.request
            }
        }
        return EditRuns(
            set: rule.setHeaders, remove: rule.removeHeaders, add: rule.addHeaders, bytes: rule.editBytes)
    }

    func responseEdits(_ client: Conn) -> ResponseEdits? {
        var edits = ResponseEdits()
        if let extras = client.pointee.extras {
            edits.linesLength = Int(extras.pointee.linesLength)
            edits.grantedLength = Int(extras.pointee.grantedLength)
        }
        guard let arrays = client.pointee.table?.pointee.arrays else { return nil }
        // Limits of a pod or port have lines without a rule, and authorizers give some.
        if client.pointee.choice.rule < 0 { return edits.room > 0 ? edits : nil }
        let rule = arrays.pointee.rules[Int(client.pointee.choice.rule)]
        if rule.actions >= 0 { edits.runs = arrays.pointee.routes.actions[Int(rule.actions)].response }
        let weight = client.pointee.choice.weight
        if weight >= 0 && arrays.pointee.weights[Int(weight)].edits >= 0 {
            edits.runs = arrays.pointee.routes.backendEdits[Int(arrays.pointee.weights[Int(weight)].edits)].response
        }
        return edits
    }

    func dropEdited(_ client: Conn, _ edits: ResponseEdits, _ bytes: UnsafePointer<UInt8>) {
        if client.pointee.extras?.pointee.hasOrigin == true { dropOriginLines(bytes) }
        if edits.grantedLength > 0, let extras = client.pointee.extras { dropGrantedResponse(extras, bytes) }
        guard let arrays = client.pointee.table?.pointee.arrays else { return }
        dropEdited(arrays, edits.runs, bytes)
    }

    func putEdits(_ client: Conn, _ edits: ResponseEdits, _ out: Bytes, _ at: inout Int) {
        if let extras = client.pointee.extras {
            put(extras.lines, edits.linesLength, out, &at)
            if edits.grantedLength > 0 { putGrantedResponse(extras, out, &at) }
        }
        guard let arrays = client.pointee.table?.pointee.arrays else { return }
        putEdits(arrays, edits.runs.set, out, &at)
        putEdits(arrays, edits.runs.add, out, &at)
    }
}
