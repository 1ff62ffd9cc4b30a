// Package e2e attacks the real binary over loopback: what hostile clients and
// hostile origins send, what a crowd does, what remains after it. Nothing of
// the tree is imported; what is judged is what a peer on the wire sees, and
// what the process says of itself in its metrics.
//
// Every test ends with the same questions (edge.calm): does the process still
// live, does it still answer, and has it given back the goroutines and
// descriptors that the attack made it take. Attacks that take long run only
// where EDGE_LONG is set (make test-long).
package e2e
