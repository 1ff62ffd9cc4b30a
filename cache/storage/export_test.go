package storage

// Instrumented is instrumented, for the tests outside the package.
const Instrumented = instrumented
