/// Where one text stands in another, in time linear in both.
enum TextSearch {
    /// - Returns: in bytes from the start; a text is found only where it starts and ends between characters, as UTF-8 has it.
    static func first(_ part: String, in text: String, from start: Int = 0) -> Int? {
        places(part, in: text, from: start, most: 1).first
    }

    /// Each place, those that overlap too.
    static func places(_ part: String, in text: String, from start: Int = 0, most: Int = .max) -> [Int] {
        let text = Array(text.utf8)
        let part = Array(part.utf8)
        if part.isEmpty { return start <= text.count ? [start] : [] }
        if part.count > text.count { return [] }
        // Where to go on in the part after so many of its bytes (Knuth, Morris, Pratt).
        var back = [0]
        var length = 0
        for index in 1..<max(1, part.count) {
            while length > 0 && part[index] != part[length] { length = back[length - 1] }
            if part[index] == part[length] { length += 1 }
            back.append(length)
        }
        var found: [Int] = []
        var matched = 0
        for index in start..<max(start, text.count) {
            while matched > 0 && text[index] != part[matched] { matched = back[matched - 1] }
            if text[index] == part[matched] { matched += 1 }
            if matched == part.count {
                found.append(index + 1 - part.count)
                if found.count == most { break }
                matched = back[matched - 1]
            }
        }
        return found
    }
}
