import KubeTypes
import Testing
import Wire

@Suite("Timestamps, quantities, durations")
struct ValuesTests {
    @Test(
        "a timestamp is read in any offset and printed in UTC",
        arguments: [
            ("1970-01-01T00:00:00Z", 0, 0, "1970-01-01T00:00:00Z"),
            ("2026-03-01T12:00:00.5+02:00", 1_772_359_200, 500_000_000, "2026-03-01T10:00:00Z"),
            ("2000-02-29T23:59:59Z", 951_868_799, 0, "2000-02-29T23:59:59Z"),
            ("1969-12-31T23:59:59Z", -1, 0, "1969-12-31T23:59:59Z"),
            ("0001-01-01T00:00:00Z", -62_135_596_800, 0, "0001-01-01T00:00:00Z"),
        ] as [(String, Int64, Int32, String)])
    func timestamp(text: String, seconds: Int64, nanoseconds: Int32, printed: String) throws {
        let parsed = try #require(Timestamp(text))
        #expect(parsed == Timestamp(seconds: seconds, nanoseconds: nanoseconds))
        #expect(parsed.description == printed)
    }

    @Test(
        "what is not a moment is no timestamp",
        arguments: [
            "", "2026-03-01", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00Zx",
        ])
    func badTimestamp(text: String) { #expect(Timestamp(text) == nil) }

    @Test("micro and nano texts keep their zeros")
    func fractions() {
        let moment = Timestamp(seconds: 0, nanoseconds: 1_500)
        #expect(moment.microText == "1970-01-01T00:00:00.000001Z")
        #expect(moment.nanoText == "1970-01-01T00:00:00.000001500Z")
        #expect(moment + .milliseconds(-1) == Timestamp(seconds: -1, nanoseconds: 999_001_500))
        #expect(moment - Timestamp(seconds: -10) == .seconds(10) + .nanoseconds(1500))
    }

    @Test("times beyond the years the API can write are the end of these")
    func farTimes() {
        let now = Timestamp(seconds: 1_800_000_000)
        #expect((now + .seconds(Int64.max)).description == "9999-12-31T23:59:59Z")
        #expect((now + .seconds(Int64.min)).description == "0000-01-01T00:00:00Z")
        #expect(Timestamp(seconds: .max) - Timestamp(seconds: .min) > .seconds(Int64.max))
        #expect(now + .seconds(Int64.max) > now)
    }

    @Test(
        "quantities have a canonical form",
        arguments: [
            ("100m", "100m"), ("0.1", "100m"), ("1", "1"), ("1000m", "1"), ("1.5Gi", "1536Mi"), ("1Gi", "1Gi"),
            ("1024Mi", "1Gi"),
            ("1e3", "1e3"), ("1E3", "1e3"), ("1000", "1k"), ("1500000", "1500k"), ("0", "0"), ("-0.5", "-500m"),
            ("12E", "9223372036854775807"),
            ("0.5Ki", "512"), ("1.1n", "2n"), ("100Ki", "100Ki"), ("1M", "1M"), ("2e-3", "2e-3"), (".5", "500m"),
            ("5.", "5"),
        ])
    func canonical(text: String, printed: String) throws {
        #expect(try #require(Quantity(text)).description == printed)
    }

    @Test(
        "what is no quantity is refused",
        arguments: ["", "m", "1mm", "1 Gi", "Gi", "1gi", "--1", "1e", "1.2.3", "0x10", "1K"])
    func badQuantity(text: String) { #expect(Quantity(text) == nil) }

    @Test("amounts compare, add and convert by value, not by spelling")
    func arithmetic() throws {
        let half = try #require(Quantity("500m"))
        #expect(half == Quantity("0.5"))
        #expect(half + half == Quantity(1))
        #expect(half.milli == 500 && half.whole == 1)
        let huge = try #require(Quantity("9E"))
        #expect(huge.milli == .max && huge.boundedMilli == Quantity.most && huge.boundedWhole == Quantity.most)
        #expect(try #require(Quantity("1Gi")).whole == 1 << 30)
        #expect(try #require(Quantity("1Gi")) > #require(Quantity("1G")))
        #expect(Quantity(json: 2) == Quantity("2"))
        #expect(Quantity(json: 0.25) == Quantity("250m"))
    }

    @Test(
        "Go durations",
        arguments: [
            ("1h5m", 3_900_000_000_000, "1h5m0s"), ("300ms", 300_000_000, "300ms"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"), ("0", 0, "0s"),
            ("1m1.5s", 61_500_000_000, "1m1.5s"), ("-2s", -2_000_000_000, "-2s"), ("10us", 10_000, "10µs"),
        ] as [(String, Int64, String)])
    func duration(text: String, nanoseconds: Int64, printed: String) throws {
        let parsed = try #require(Duration(text: text))
        #expect(parsed == .nanoseconds(nanoseconds))
        #expect(parsed.text == printed)
    }

    @Test("what is no duration is refused", arguments: ["", "5", "5x", "s", "1h-5m", ".s", "1 s"])
    func badDuration(text: String) { #expect(Duration(text: text) == nil) }

    @Test(
        "ages read as kubectl prints them",
        arguments: [
            (5, "5s"), (119, "119s"), (120, "2m"), (303, "5m3s"), (600, "10m"), (10_799, "179m"), (10_800, "3h"),
            (12_000, "3h20m"), (86_400, "24h"),
            (187_200, "2d4h"), (172_800, "2d"), (864_000, "10d"), (63_072_000, "2y"), (67_000_000, "2y45d"), (-1, "0s"),
            (-5, "<invalid>"),
        ] as [(Int, String)])
    func ages(seconds: Int, text: String) { #expect(Duration.seconds(seconds).ageText == text) }

    @Test("typed fields read and write the tree")
    func fields() {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "demo", name: "web")
        #expect(pod[Pod.nodeName] == nil)
        pod[Pod.nodeName] = "node-1"
        pod[Pod.startTime] = Timestamp(seconds: 0)
        #expect(pod.json["spec"]?["nodeName"] == "node-1")
        #expect(pod.json["status"]?["startTime"] == "1970-01-01T00:00:00Z")
        var container: JSON = ["name": "app"]
        container[Container.image] = "web:1"
        #expect(container[Container.name] == "app" && container["image"] == "web:1")
    }
}
