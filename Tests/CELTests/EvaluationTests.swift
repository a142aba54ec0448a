import Testing
import Wire

@testable import CEL

@Suite struct EvaluationTests {
    static let truths: [String] = [
        "1 + 2 == 3", "7 / -2 == -3", "7 % -2 == 1", "dyn(1) == 1u", "dyn(1) != '1'", "2 > 1.5",
        "'a' + 'b' == 'ab'", "size('ÿπ') == 2", "b'abc'.size() == 3", "'\\u00e9' == 'é'", "r'\\n'.size() == 2",
        "0xff == 255", "[1, 2] + [3] == [1, 2, 3]", "2 in [1, 2]", "'k' in {'k': null}", "{'a': {'b': 1}}.a.b == 1",
        "has({'a': 1}.a) && !has({'a': 1}.b)", "true || 1 / 0 > 0", "1 / 0 > 0 || true", "!(false && 1 / 0 > 0)",
        "[1, 2, 3].exists_one(x, x > 2)", "[1, 2].map(x, x > 1, x * 2) == [4]", "{'a': 1}.all(k, k == 'a')",
        "[3, 4].all(i, v, v - i == 3)", "[1, 2].transformList(i, v, i + v) == [1, 3]",
        "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2}", "{'a': 1}.transformMapEntry(k, v, {v: k}) == {1: 'a'}",
        "cel.bind(x, 2, x * x) == 4", "optional.of(1).optMap(x, x + 1).value() == 2",
        "{'a': 1}.?b.orValue(5) == 5", "[1][?3].hasValue() == false", "[?optional.none(), 1] == [1]",
        "timestamp('2009-02-13T23:31:30Z').getDayOfWeek() == 5",
        "timestamp('2009-02-13T23:31:30Z').getHours('+02:00') == 1",
        "timestamp('2024-03-01T00:00:00Z') - duration('24h') == timestamp('2024-02-29T00:00:00Z')",
        "duration('1h30m').getMinutes() == 90", "string(duration('1.5s')) == '1.5s'", "string(1e6) == '1e+06'",
        "int('-5') == -5", "double('1.5') == 1.5", "type(1) == int", "type([]) == list", "'abc'.matches('^a.c$')",
        "'tacocat'.indexOf('c') == 2", "'tacocat'.lastIndexOf('ac', 4) == 1", "'a,b,c'.split(',', 2) == ['a', 'b,c']",
        "'x-y-z'.replace('-', '', 1) == 'xy-z'", "' a '.trim() == 'a'", "'%d%%'.format([5]) == '5%'",
        "'héé'.substring(1, 2) == 'é'", "[1, 3, 2].max() == 3", "[1, 2].sum() == 3", "['a', 'b'].isSorted()",
        "'a1b22'.findAll('[0-9]+') == ['1', '22']", "sets.contains([1, 2], [1])",
        "quantity('1.5Gi').isGreaterThan(quantity('1G'))", "quantity('50k').asInteger() == 50000",
        "quantity('100m').add(quantity('900m')).compareTo(quantity('1')) == 0", "!isQuantity('10 Mo')",
        "ip('::1').isLoopback()", "string(ip('2001:DB8::0:1')) == '2001:db8::1'",
        "cidr('192.168.0.0/16').containsIP('192.168.3.4')", "!isCIDR('10.0.0.0/33')",
        "url('https://user@h:80/p%20q?k=1&k=2').getQuery()['k'] == ['1', '2']",
        "url('https://[::1]:80/p').getHostname() == '::1'", "!isURL('../relative')",
        "semver('1.2.3-rc.1').isLessThan(semver('1.2.3'))", "semver('v1.2', true).patch() == 0",
        "!format.dns1123Label().validate('a-b').hasValue()", "format.dns1123Label().validate('A').hasValue()",
        "format.named('uuid').hasValue()", "jsonpatch.escapeKey('a/b~c') == 'a~1b~0c'",
    ]

    @Test("an expression holds", arguments: truths)
    func holds(expression: String) throws {
        #expect(try Environment.kubernetes.compile(expression).evaluate().bool == true)
    }

    static let errors: [(String, String)] = [
        ("1 / 0", "division by zero"), ("9223372036854775807 + 1", "integer overflow"),
        ("0u - 1u", "unsigned integer overflow"), ("[1][1]", "index out of bounds: 1"),
        ("{'a': 1}.b", "no such key: b"),
        ("dyn('a') + dyn(1) == 1", "no such overload"), ("int('a')", "type conversion error from 'string' to 'int': a"),
        ("optional.none().value()", "optional.none() dereference"),
    ]

    @Test("an expression fails with its cause", arguments: errors)
    func fails(expression: String, message: String) throws {
        let program = try Environment.kubernetes.compile(expression)
        #expect(throws: EvaluationFault.failed(message)) { _ = try program.evaluate() }
    }

    static let refusals: [(String, String)] = [
        ("1 +", "Syntax error: unexpected the end of the expression"),
        ("x", "undeclared reference to 'x' (in container '')"),
        ("1 + 'a'", "found no matching overload for '_+_' applied to '(int, string)'"),
        ("'a'.foo()", "undeclared reference to 'foo' (in container '')"), ("self.nam", "undefined field 'nam'"),
        ("self.name.x", "type 'string' does not support field selection"), ("let", "reserved identifier: let"),
        ("[1, 'a']", "expected type 'int' but found 'string'"), ("has(1)", "invalid argument to has() macro"),
        ("[1].all(1, true)", "argument must be a simple name"),
        ("1 && true", "found no matching overload for '_&&_' applied to '(int, bool)'"),
        ("'a'.matches('(')", "invalid matches argument"), ("duration('1x')", "invalid duration argument"),
    ]

    @Test("a wrong expression is refused with its place and cause", arguments: refusals)
    func refused(expression: String, message: String) throws {
        var environment = Environment.kubernetes
        environment.declare("self", .object(ObjectType("Self", ["name": .string])))
        let fault = #expect(throws: CompilationFault.self) { _ = try environment.compile(expression) }
        #expect(fault?.issues.first?.message == message)
        #expect(fault?.issues.first?.line == 1)
    }

    @Test("a fault points at its line and column, counted in characters")
    func place() {
        let fault = #expect(throws: CompilationFault.self) {
            _ = try Environment([.standard]).compile("1 == 1\n && 'é' == z")
        }
        #expect(
            fault?.description
                == "ERROR: <input>:2:12: undeclared reference to 'z' (in container '')\n |  && 'é' == z\n | ...........^"
        )
    }

    @Test("a JSON object is looked at through its schema, under escaped names")
    func json() throws {
        let spec = ObjectType(
            "Spec", ["at": .timestamp, "x__dash__y": .double, "__namespace__": .string, "tags": .list(.string)])
        var environment = Environment.kubernetes
        environment.declare("self", .object(spec))
        environment.declare("oldSelf", .dyn)
        let object = try JSON(parsing: #"{"at":"2024-01-01T00:00:00Z","x-y":1,"namespace":"n","tags":["a"],"more":1}"#)
        let inputs: [Value?] = [Value(object, as: .object(spec)), Value(object)]
        let expression = """
            self.at.getFullYear() == 2024 && self.x__dash__y == 1.0 && self.__namespace__ == 'n' && 'a' in self.tags
            && oldSelf.more == 1 && !has(oldSelf.none)
            """
        #expect(try environment.compile(expression).evaluate(inputs).bool == true)
    }

    @Test("names are escaped and come back", arguments: ["a.b", "a-b", "a/b", "namespace", "a__b", "plain", "in"])
    func names(name: String) throws {
        let escaped = try #require(FieldName.escaped(name))
        #expect(FieldName.unescaped(escaped) == name)
        #expect(FieldName.escaped("0a") == nil)
    }

    @Test("sets are equal in any order, and added without doubles")
    func sets() throws {
        var environment = Environment.kubernetes
        environment.declare("one", .list(.int))
        environment.declare("two", .list(.int))
        let one = Value.list(.source(JSONList([.int(1), .int(2)], .int, merge: .set)))
        let two = Value.list(.source(JSONList([.int(2), .int(1)], .int, merge: .set)))
        #expect(try environment.compile("one == two && (one + two).size() == 2").evaluate([one, two]).bool == true)
    }

    @Test("an authorizer answers what an expression asks")
    func authorizer() throws {
        var environment = Environment.kubernetes
        environment.add(.authorization)
        environment.declare("authorizer", .named("kubernetes.authorization.Authorizer"))
        let expression = "authorizer.group('').resource('pods').namespace('a').check('get').allowed()"
        let value = Value.opaque(
            Authorizer { AccessAnswer(isAllowed: $0.resource == "pods" && $0.namespace == "a" && $0.verb == "get") })
        #expect(try environment.compile(expression).evaluate([value]).bool == true)
    }

    @Test("an object is made by its type's name and becomes JSON")
    func objects() throws {
        struct Types: TypeProvider {
            func type(named name: String) -> ObjectType? {
                name == "Object" ? ObjectType("Object", ["replicas": .int, "a__dash__b": .string]) : nil
            }
        }
        var environment = Environment.kubernetes
        environment.types = Types()
        let made = try environment.compile("Object{replicas: 3, a__dash__b: 'x'}").evaluate()
        #expect(made.json == .object(JSONObject([.init("replicas", .int(3)), .init("a-b", .string("x"))])))
    }
}
