//go:build !poison

package h1

const poisonBuild = false
