// Package hardening holds testdata/hardening/LEDGER to the tests that it
// names: what hostile peers may try is a list of claims, each with what shows
// it, and a test that is renamed or removed is missed here.
package hardening
