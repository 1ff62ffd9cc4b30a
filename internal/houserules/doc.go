// Package houserules holds the rules of this tree that no compiler keeps, as
// tests: who may import whom, how long a function may be, what must be
// documented, where the clock may be read, what a switch must cover, how a
// standard is cited, where links point. `go test ./...` is the gate, on any
// machine that has Go.
//
// Every rule is a function from source to findings; next to its run over the
// tree stands a test that shows it a violation, since a rule that cannot
// fail keeps nothing. A finding says what to do about it. An exception is a
// line in a list here, with its reason, and the list is tested too: an
// exception nobody needs any more is a finding.
package houserules
