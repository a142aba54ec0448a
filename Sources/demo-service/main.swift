import Glibc

// A small HTTP service to show a mesh with: `catalog` answers, `frontend` asks it, `echo` says what it was asked.

signal(SIGPIPE, SIG_IGN)
// Before any thread starts, so that all inherit it: only the one that waits for it sees SIGTERM.
Shutdown.block()

if CommandLine.arguments.count == 3, CommandLine.arguments[1] == "get" { exit(Visit.run(CommandLine.arguments[2])) }
if CommandLine.arguments.count > 1, CommandLine.arguments[1] == "pace" {
    exit(Pace.run(Array(CommandLine.arguments.dropFirst(2))))
}
switch Options.read(CommandLine.arguments) {
case .failure(let problem):
    say("demo-service: \(problem.message)\n\n\(Options.usage)", to: 2)
    exit(2)
case .success(let options):
    exit(Server(options).run())
}
