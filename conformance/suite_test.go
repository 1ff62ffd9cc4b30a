package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestNodeMajor(t *testing.T) {
	for version, want := range map[string]int{"v20.20.2\n": 20, "v8.1.0": 8, "20.1": 0, "": 0, "v99999999999999999999.1": 0} {
		if got, ok := nodeMajor(version); ok != (want > 0) || ok && got != want {
			t.Errorf("%q: %d, %v", version, got, ok)
		}
	}
}

func TestLayout(t *testing.T) {
	dir := t.TempDir()
	if _, err := layout(&suite{dir: dir}); err == nil {
		t.Error("an empty directory is a suite")
	}
	for _, engine := range []string{".", "test-engine"} {
		server := filepath.Join(dir, engine, "server")
		if err := os.MkdirAll(server, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{filepath.Join(dir, engine, "cli.mjs"), filepath.Join(server, "server.mjs")} {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := layout(&suite{dir: dir})
		if err != nil || s.cli != filepath.Join(engine, "cli.mjs") || s.server != filepath.Join(engine, "server", "server.mjs") {
			t.Errorf("%s: %+v, %v", engine, s, err)
		}
	}
	if _, err := findSuite(t.Context(), dir, nil); err == nil {
		t.Error("a checkout without its dependencies will do")
	}
}

func TestInstalled(t *testing.T) {
	prefix := t.TempDir()
	lock := filepath.Join(prefix, "node_modules", ".package-lock.json")
	if err := os.MkdirAll(filepath.Dir(lock), 0o755); err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]bool{
		"": false,
		`{"packages": {"node_modules/http-cache-tests": {"version": "0.4.5", "integrity": "` + packageIntegrity + `"}}}`: true,
		`{"packages": {"node_modules/http-cache-tests": {"version": "0.4.5", "integrity": "sha512-other"}}}`:             false,
		`{"packages": {}}`: false,
	} {
		if err := os.WriteFile(lock, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := installed(prefix); got != want {
			t.Errorf("%s: %v", content, got)
		}
	}
}
