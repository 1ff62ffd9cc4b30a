package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"edge/admin"
	"edge/config"
)

// TestPurgeWiring: what the file says of tags and of the method PURGE reaches the
// proxy.
func TestPurgeWiring(t *testing.T) {
	dir := t.TempDir()
	tokens := fmt.Sprintf("a purge sha256:%x\nb read sha256:%x\n", sha256.Sum256([]byte("P")), sha256.Sum256([]byte("R")))
	if err := os.WriteFile(filepath.Join(dir, "tokens"), []byte(tokens), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(filepath.Join(dir, "edge.yaml"), []byte(`
version: 1
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "0.0.0.0:9901", tokens_file: tokens}
journal: {path: journal}
origins: {app: {endpoints: [{url: "http://127.0.0.1:1"}]}}
routes:
  - {match: {path: /a}, origin: app, keep_tags: true, tag_fields: [X-Tags, Y-Tags], purge: {addresses: [10.0.0.0/8], tokens: true}}
  - {match: {path: /b}, origin: app, purge: {addresses: [10.0.0.1]}}
  - {match: {path: /*}, origin: app}
`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Journal.Path != filepath.Join(dir, "journal") {
		t.Errorf("the journal is at %s", c.Journal.Path)
	}
	n := &node{config: c}
	if n.tokens, err = admin.LoadTokens(c.Admin.TokensFile); err != nil {
		t.Fatal(err)
	}
	r := buildRoute(&c.Routes[0], nil, time.Minute)
	if !r.KeepTags || len(r.TagFields) != 2 || string(r.TagFields[1]) != "Y-Tags" {
		t.Errorf("keep %v, fields %q", r.KeepTags, r.TagFields)
	}
	both := n.purgeMethod(&c.Routes[0].Purge)
	if len(both.Addresses) != 1 || both.Token == nil || !both.Token([]byte("P")) || both.Token([]byte("R")) || both.Token(nil) {
		t.Errorf("by address and token: %+v", both)
	}
	if m := n.purgeMethod(&c.Routes[1].Purge); len(m.Addresses) != 1 || m.Token != nil {
		t.Errorf("by address: %+v", m)
	}
	if n.purgeMethod(&c.Routes[2].Purge) != nil {
		t.Error("the method PURGE is allowed though nobody said so")
	}
	if err := n.reloadTokens(); err != nil {
		t.Error(err)
	}
}
