import Wire

extension JSONObject {
    /// The members changed one by one, new ones at the end, in time linear in both.
    ///
    /// `combine` gets the key, the value so far and the change, and gives the new value, or `nil` to remove the member.
    func merging<Failure: Error>(
        _ changes: [Member], _ combine: (String, JSON?, JSON) throws(Failure) -> JSON?
    ) throws(Failure) -> JSONObject {
        var result: [Member?] = members
        // Few members are found as fast by looking at each.
        let isIndexed = changes.count > 4 && members.count + changes.count > 24
        var places: [String: Int] = [:]
        if isIndexed {
            places = Dictionary(members.enumerated().map { ($0.element.key, $0.offset) }) { first, _ in first }
        }
        for change in changes {
            let place: Int?
            if isIndexed { place = places[change.key] } else { place = result.firstIndex { $0?.key == change.key } }
            let old = place.flatMap { result[$0]?.value }
            let new = try combine(change.key, old, change.value)
            if let place {
                result[place] = new.map { Member(change.key, $0) }
            } else if let new {
                if isIndexed { places[change.key] = result.count }
                result.append(Member(change.key, new))
            }
        }
        return JSONObject(result.compactMap { $0 })
    }
}
