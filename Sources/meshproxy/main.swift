import Glibc
import Proxy

signal(SIGPIPE, SIG_IGN)
// Signals are taken by this thread alone, in `sigwait`.
var signals = sigset_t()
sigemptyset(&signals)
for number in ProgramLife.signals { sigaddset(&signals, number) }
pthread_sigmask(SIG_BLOCK, &signals, nil)

func say(_ text: String, to file: Int32) {
    var text = text
    text.withUTF8 { _ = write(file, $0.baseAddress, $0.count) }
}

switch CommandLineOptions.read(Array(CommandLine.arguments.dropFirst())) {
case .hold(let options, let words):
    guard var holder = Holder(words, options) else {
        say("meshproxy: hold is for a process that another has taken over from\n", to: 2)
        exit(64)
    }
    exit(holder.run())
case .upgrade(let options, let takesProgram):
    exit(Upgrade.run(options, takesProgram: takesProgram))
case .print(let text):
    say(text, to: 1)
case .fault(let text):
    say("meshproxy: \(text)\n", to: 2)
    exit(64)
case .check(let path):
    do {
        let file = try ConfigurationFile(reading: path)
        say("\(path): \(file.summary)\n", to: 1)
    } catch {
        say("meshproxy: \(error)\n", to: 2)
        exit(1)
    }
case .start(let options):
    do {
        let program = try Program(options)
        var life = ProgramLife(program, Array(CommandLine.arguments.dropFirst()))
        exit(life.run())
    } catch {
        say("meshproxy: \(error)\n", to: 2)
        exit(1)
    }
}
