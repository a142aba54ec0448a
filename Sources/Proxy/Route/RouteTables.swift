import ProxyResources
import Wire

enum PathKind: UInt8 { case any, exact, elements, text, regex }

/// One way for a request to be taken by a rule.
struct MatchEntry {
    var pathKind: PathKind
    /// The path is compared in lower case; so is `path` written.
    var ignoresPathCase = false
    var path = TextRange()
    var pattern: Int32 = -1
    var method = TextRange()
    var conditions = Run()
    /// The rule it belongs to.
    var rule: Int32 = -1
}

/// What a piece of text must be like.
struct TextEntry {
    var kind: TextMatch.Kind
    /// The text is compared in lower case; so is `value` written.
    var ignoresCase = false
    var value = TextRange()
    var pattern: Int32 = -1
}

/// What a match asks beside path and method.
struct ConditionEntry {
    enum Subject: UInt8 { case header, query, scheme, authority, method, address }
    var subject: Subject
    var isInverted = false
    /// Of the header, in lower case, or of the parameter.
    var name = TextRange()
    var text = TextEntry(kind: .present)
    /// For an address.
    var ranges = Run()
}

struct RangeEntry {
    var address: UInt32
    var mask: UInt32
}

/// The rules of a service or a host, in order of precedence.
struct RuleRun {
    var start: Int32 = 0
    var count: Int32 = 0
    /// How to find them by path; -1 when they are so few that they are tried in turn.
    var index: Int32 = -1
}

/// Rules by path: those with a path in a tree, the others in turn.
struct RuleIndexEntry {
    var root: Int32
    /// Candidates.
    var others: Run
}

/// A node of the tree of paths: what stands on the way to it, and the matches whose path ends here. Matches are numbered in order of
/// precedence, so of those that fit the smallest number counts.
struct PathNode {
    var label: TextRange
    /// By their labels' first bytes.
    var children = Run()
    var exact = Run()
    var elements = Run()
    var text = Run()
}

/// Changes to a message's headers.
struct EditRuns {
    var set = Run()
    var remove = Run()
    var add = Run()
    var bytes: Int32 = 0
    var isEmpty: Bool { self.set.count &+ remove.count &+ add.count == 0 }
}

enum PathChange: UInt8 { case none, full, prefix, matched, regex }

struct PathChangeEntry {
    var kind = PathChange.none
    var text = TextRange()
    var pattern: Int32 = -1
}

/// What a rule does beside choosing a backend; see `RouteActions`.
struct ActionsEntry {
    var path = PathChangeEntry()
    /// Empty when it stays.
    var host = TextRange()
    /// Places in arrays of their own; -1 when there is none.
    var redirect: Int32 = -1
    var cors: Int32 = -1
    var fault: Int32 = -1
    var mirrors = Run()
    var response = EditRuns()
    var hasBody = false
    var body = TextRange()
    var contentType = TextRange()
}

/// Changes for one backend of a rule.
struct BackendEditsEntry {
    var request: EditRuns
    var response: EditRuns
}

struct RedirectEntry {
    var status: Int32
    var scheme = TextRange()
    var host = TextRange()
    /// -1 when not given.
    var port: Int32 = -1
    var path = PathChangeEntry()
}

struct MirrorEntry {
    var backend: Int32
    var millionths: UInt32
}

struct CORSEntry {
    var origins = Run()
    /// Whole lines of the answer to a preflight, but those of the origin.
    var preflightLines = TextRange()
    /// Of any other answer.
    var exposeLine = TextRange()
    var allowsAnyMethod = false
    var allowsAnyHeader = false
    var allowsCredentials = false
    var forwardsUnmatched = false
    /// Everybody is allowed, and nobody's credentials: `*` is the answer to all.
    var answersStar = false
}

struct FaultEntry {
    var delayMilliseconds: UInt32 = 0
    var delayMillionths: UInt32 = 0
    /// 0 when none is configured.
    var abortStatus: Int32 = 0
    /// -1 when the abort is not gRPC's.
    var abortGRPC: Int32 = -1
    var abortMillionths: UInt32 = 0
    var isHeaderControlled = false
}

/// A gateway's hosts by name: open addressing over the places of `hosts`.
struct HostIndexEntry {
    /// In `hostSlots`; a power of two, or none when hosts are so few that they are tried in turn.
    var slots = Run()
    /// The host that takes all others; -1 when none.
    var any: Int32 = -1
}

/// The part of a routing table that is about matching and acting, as plain pointers.
struct RouteTables {
    var conditions: UnsafeMutablePointer<ConditionEntry>
    var ranges: UnsafeMutablePointer<RangeEntry>
    var patterns: UnsafeMutablePointer<PatternView>
    var indexes: UnsafeMutablePointer<RuleIndexEntry>
    var nodes: UnsafeMutablePointer<PathNode>
    /// Places of matches, in rising order in each run.
    var candidates: UnsafeMutablePointer<Int32>
    var hostSlots: UnsafeMutablePointer<Int32>
    var actions: UnsafeMutablePointer<ActionsEntry>
    var backendEdits: UnsafeMutablePointer<BackendEditsEntry>
    var redirects: UnsafeMutablePointer<RedirectEntry>
    var mirrors: UnsafeMutablePointer<MirrorEntry>
    var origins: UnsafeMutablePointer<TextEntry>
    var cors: UnsafeMutablePointer<CORSEntry>
    var faults: UnsafeMutablePointer<FaultEntry>
}

/// The same while a table is made.
struct RouteDraft {
    /// Matches as they are numbered, for the index.
    var conditions: [ConditionEntry] = []
    var ranges: [RangeEntry] = []
    var patterns: [Pattern] = []
    var patternPlaces: [String: Int32] = [:]
    var indexes: [RuleIndexEntry] = []
    var nodes: [PathNode] = []
    var candidates: [Int32] = []
    var hostSlots: [Int32] = []
    var actions: [ActionsEntry] = []
    var backendEdits: [BackendEditsEntry] = []
    var redirects: [RedirectEntry] = []
    var mirrors: [MirrorEntry] = []
    var origins: [TextEntry] = []
    var cors: [CORSEntry] = []
    var faults: [FaultEntry] = []
    /// Who this proxy is, for matches that ask for it.
    var namespace = ""
    var labels: [String: String] = [:]
}
