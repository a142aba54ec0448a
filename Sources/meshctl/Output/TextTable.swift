/// Columns of text, each as wide as its widest cell, three spaces apart, as kubectl prints them.
struct TextTable {
    var header: [String]
    var rows: [[String]] = []
    /// Columns whose cells stand at the right, for numbers.
    var numeric: Set<Int> = []

    init(_ header: [String], numeric: Set<Int> = []) {
        self.header = header
        self.numeric = numeric
    }

    var text: String {
        var widths = header.map(\.count)
        for row in rows {
            for (column, cell) in row.enumerated() where column < widths.count {
                widths[column] = max(widths[column], cell.count)
            }
        }
        return ([header] + rows).map { line($0, widths) }.joined(separator: "\n")
    }

    private func line(_ cells: [String], _ widths: [Int]) -> String {
        var line = ""
        for (column, cell) in cells.enumerated() where column < widths.count {
            let padding = String(repeating: " ", count: widths[column] - cell.count)
            line += numeric.contains(column) ? padding + cell : cell + padding
            line += "   "
        }
        while line.last == " " { line.removeLast() }
        return line
    }
}
