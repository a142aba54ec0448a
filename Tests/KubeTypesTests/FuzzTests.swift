import KubeTypes
import Testing
import Wire

/// Damages values in ways a client might; the same seed damages the same way.
private struct Damage {
    var state: UInt64
    init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func number(_ limit: Int) -> Int {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Int(state % UInt64(limit))
    }

    static let strange: [JSON] = [
        .null, true, 0, -1, .int(.max), .int(.min), 1.5, .double(1e300), "", "x", "-", "😀", "0.00000000000001Ki",
        "9999999999999999999999", "25%", "-5s",
        [], [:], [.null], ["": .null], ["name": "x"], [[:]], [["name": 5]], .string(String(repeating: "a", count: 300)),
        "2026-01-01T00:00:00Z",
    ]

    mutating func damaged(_ value: JSON, depth: Int = 0) -> JSON {
        if number(14) == 0, depth > 0 { return Self.strange[number(Self.strange.count)] }
        switch value {
        case .object(let members):
            var result = members.map { JSONObject.Member($0.key, damaged($0.value, depth: depth + 1)) }
            if number(12) == 0, !result.isEmpty { result.remove(at: number(result.count)) }
            if number(20) == 0 { result.append(.init("extra", Self.strange[number(Self.strange.count)])) }
            return .object(JSONObject(result))
        case .array(let elements):
            var result = elements.map { damaged($0, depth: depth + 1) }
            if number(10) == 0, let first = result.first { result.append(first) }
            return .array(result)
        default: return value
        }
    }
}

@Suite("Damaged input")
struct FuzzTests {
    static let manifests =
        [Manifest.deployment, Manifest.service, Manifest.httpRoute, Manifest.virtualService] + ProtobufBodyTests.objects

    @Test(
        "no damaged object makes decoding, defaults, validation, printing, encoding or apply trap", arguments: manifests
    )
    func objects(yaml: String) throws {
        let base = try Manifest.object(yaml)
        let definition = try Manifest.definition(base.json)
        let now = Timestamp(seconds: 1_700_000_000)
        var accepted = 0
        for seed in 0..<400 {
            var damage = Damage(seed: UInt64(seed + 1))
            var json = damage.damaged(base.json)
            json["apiVersion"] = base.json["apiVersion"]
            json["kind"] = base.json["kind"]
            // Cells are printed of whatever is stored.
            _ = definition.cells(KubeObject(json), now)
            _ = KubeProtobuf.builtIn.encode(json)
            guard
                var object = try? definition.decode(
                    json.bytes, contentType: "application/json", fieldValidation: .ignore
                ).object
            else { continue }
            accepted += 1
            definition.default(&object)
            _ = definition.faults(object, old: base)
            let once = object
            definition.default(&object)
            #expect(object == once, "defaults are stable")
            if var applied = try? definition.apply(object, to: base, manager: "x", force: true, now: now) {
                definition.trackUpdate(from: base, to: &applied, manager: "y", now: now)
            }
            _ = try? StrategicMergePatch.applied(json, to: base.json, definition.schema)
        }
        #expect(accepted > 0)
    }

    @Test("no text makes the parsers of values trap")
    func values() {
        var damage = Damage(seed: 7)
        let letters = Array("0123456789.-+eEKMGTPikmnuhsZT:/,=!()[]*?@'\"\\ ax")
        for _ in 0..<30_000 {
            let text = String((0..<damage.number(24)).map { _ in letters[damage.number(letters.count)] })
            if let quantity = Quantity(text) {
                _ = quantity + quantity
                #expect(Quantity(quantity.description) != nil, "\(text)")
            }
            _ = Duration(text: text).map { ($0.text, $0.ageText) }
            _ = Timestamp(text).map { $0.description }
            _ = JSONPath(text)?.values(in: ["a": ["b": 1]])
            _ = try? LabelSelector(parsing: text)
            _ = try? FieldSelector(parsing: text, for: .pods)
            _ = Names.isAddress(text)
            _ = Base64.decode(text)
        }
    }

    @Test("what is printed of a quantity is the same amount")
    func quantities() throws {
        for text in [
            "0.00000000000001Ki", "1.00000000000000001Gi", "9.9999999999E", "123456789012345678901234567890", "1e-30",
            "7Ei", "8Ei", "-3Mi", "0.1Ki", "1023.5Ki",
        ] {
            let quantity = try #require(Quantity(text))
            #expect(Quantity(quantity.description) == quantity, "\(text) \(quantity)")
        }
        #expect(Quantity("8Ei")?.whole == .max && Quantity("1e-30")?.description == "1e-9")
    }

    @Test("a patch cannot ask for more memory than there is")
    func copies() throws {
        let operations = (0..<64).map {
            JSON.object(JSONObject([.init("op", "copy"), .init("from", ""), .init("path", .string("/c\($0)"))]))
        }
        let fault = #expect(throws: PatchFault.self) { try JSONPatch(.array(operations)).applied(to: ["a": 1]) }
        #expect(fault?.isMalformed == true)
    }

    @Test("a patch cannot nest without end, nor copy a long text without end")
    func depth() throws {
        func refusal(_ operations: [JSON], of document: JSON) -> PatchFault? {
            #expect(throws: PatchFault.self) { try JSONPatch(.array(operations)).applied(to: document) }
        }
        var deep: JSON = 1
        for _ in 0..<300 { deep = ["a": deep] }
        let path = JSON.string(String(repeating: "/a", count: 300))
        let added = refusal([["op": "add", "path": path, "value": deep]], of: deep)
        #expect(added?.message.contains("nested more than 500 deep") == true)
        #expect(refusal([["op": "copy", "from": "", "path": path]], of: deep)?.isMalformed == true)
        let moved = refusal([["op": "move", "from": "/b", "path": path]], of: ["a": deep["a"] ?? 0, "b": deep])
        #expect(moved?.isMalformed == true)
        let long = JSON.string(String(repeating: "x", count: 1 << 20))
        let copies = (0..<100).map { number -> JSON in
            ["op": "copy", "from": "/a", "path": .string("/b\(number)")]
        }
        #expect(refusal(copies, of: ["a": long])?.isMalformed == true)
        let body = Array((String(repeating: "[", count: 505) + String(repeating: "]", count: 505)).utf8)
        let definition = try #require(SchemaCatalog.builtIn.definition(of: .configMaps))
        #expect(throws: APIFailure.self) {
            try definition.decode(body, contentType: "application/json", fieldValidation: .ignore)
        }
    }

    @Test("finds of the fuzz targets: what comes again changes nothing")
    func again() throws {
        let service = try Manifest.object(Manifest.service).json
        let schema = try Manifest.definition(service).schema
        let patch: JSON = ["spec": ["ports": [["port": 90, "$patchol": "UDP"]]]]
        let once = try StrategicMergePatch.applied(patch, to: service, schema)
        #expect(try StrategicMergePatch.applied(patch, to: once, schema) == once)

        let definition = try #require(SchemaCatalog.builtIn.definition(of: .configMaps))
        let note = "kubectl.kubernetes.io/last-applied-configuration"
        let object = KubeObject([
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": ["name": "a", "namespace": "d", "annotations": .object(JSONObject([.init(note, "{}")]))],
        ])
        let now = Timestamp(seconds: 0)
        let applied = try definition.apply(object, to: nil, manager: "kubectl", force: false, now: now)
        let twice = try definition.apply(object, to: applied, manager: "kubectl", force: false, now: now)
        #expect(twice == applied && applied.annotations[note]?.contains("ConfigMap") == true)
    }

    @Test("large objects take time in proportion to their size", .timeLimit(.minutes(1)))
    func large() throws {
        func map(_ prefix: String, _ value: String) -> JSON {
            .object(JSONObject((0..<30_000).map { .init("\(prefix)\($0)", .string(value)) }))
        }
        let definition = try #require(SchemaCatalog.builtIn.definition(of: .configMaps))
        let head: JSON = ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "a", "namespace": "d"]]
        func object(_ data: JSON) -> KubeObject {
            var json = head
            json["data"] = data
            return KubeObject(json)
        }
        let now = Timestamp(seconds: 0)
        // Only plain answers stand in the expectations: the test library describes what it is given, which takes longer.
        let live = try definition.apply(object(map("k", "1")), to: nil, manager: "me", force: false, now: now)
        let isMerged = MergePatch.applied(["data": map("k", "2")], to: live.json)["data"] == map("k", "2")
        #expect(isMerged)
        let grown = try StrategicMergePatch.applied(["data": map("n", "2")], to: live.json, definition.schema)
        let count = grown["data"]?.object?.count
        #expect(count == 60_000)
        var conflicts = 0
        do throws(APIFailure) {
            _ = try definition.apply(object(map("k", "3")), to: live, manager: "you", force: false, now: now)
        } catch {
            conflicts = error.details?["causes"]?.array?.count ?? 0
        }
        #expect(conflicts == 30_000)
        let forced = try definition.apply(object(map("k", "3")), to: live, manager: "you", force: true, now: now)
        let owners = forced.metadata["managedFields"]?.array?.count
        #expect(owners == 1)
        let emptied = try definition.apply(object([:]), to: live, manager: "me", force: false, now: now)
        #expect(emptied.json["data"] == [:])
        let bytes = KubeProtobuf.builtIn.encode(live.json) ?? []
        let isSame = try KubeProtobuf.builtIn.decode(bytes)["data"] == live.json["data"]
        #expect(isSame)
        let isRead = try definition.decode(live.json.bytes, contentType: "", fieldValidation: .strict).object == live
        #expect(isRead)
    }

    @Test("an autoscaler shows in both its versions")
    func autoscaler() throws {
        let old = try Manifest.object(
            "{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: h}, spec: {maxReplicas: 5, targetCPUUtilizationPercentage: 70, scaleTargetRef: {kind: Deployment, name: d}}}"
        )
        let definition = try Manifest.definition(old.json)
        let stored = definition.stored(old)
        #expect(stored.apiVersion == "autoscaling/v2")
        #expect(stored.spec["metrics"]?[0]?["resource"]?["target"]?["averageUtilization"] == 70)
        #expect(definition.presented(stored) == old)
    }
}
