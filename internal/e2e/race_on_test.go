//go:build race

package e2e

// raceBuild: the binary under attack is built with the race detector where
// this test is.
const raceBuild = true
