package admin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
)

// Scope is what a token is good for.
type Scope uint8

// The scopes.
const (
	// ScopeRead: metrics, receipts, the list of purges, what is stored.
	ScopeRead Scope = 1 << iota
	// ScopePurge: purging, and the receipts of it.
	ScopePurge
	// ScopeAdmin: everything.
	ScopeAdmin
)

// scopeNames are the scopes as the tokens file names them.
var scopeNames = []struct {
	name  string
	scope Scope
}{{"read", ScopeRead}, {"purge", ScopePurge}, {"admin", ScopeAdmin}}

// String names the scopes: "read, purge".
func (s Scope) String() string {
	var names []string
	for _, v := range scopeNames {
		if s&v.scope != 0 {
			names = append(names, v.name)
		}
	}
	return strings.Join(names, ", ")
}

// scopeOf returns the scope of a name; 0 where it is none's.
func scopeOf(name string) Scope {
	for _, v := range scopeNames {
		if v.name == name {
			return v.scope
		}
	}
	return 0
}

const (
	// maxTokensFile bounds the tokens file, in bytes, and maxTokens the tokens in
	// it: each is compared with what a client sends.
	maxTokensFile = 1 << 20
	maxTokens     = 1000
	// hashPrefix precedes a hash in the file.
	hashPrefix = "sha256:"
)

// Tokens are the bearer tokens of the admin API, read from a file. Safe for
// concurrent use; Load replaces all of them at once.
//
// The file has a token a line: its name, its scopes separated by commas, and the
// SHA-256 of the token in hexadecimal. Empty lines and those that begin with "#"
// do not count:
//
//	# printf %s "$TOKEN" | sha256sum
//	deploy  purge       sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b
//	grafana read        sha256:...
//
// A token should be long and random: then a hash without salt gives nothing away.
type Tokens struct{ list atomic.Pointer[[]token] }

type token struct {
	hash   [sha256.Size]byte
	scopes Scope
}

// LoadTokens reads a tokens file.
func LoadTokens(path string) (*Tokens, error) {
	t := new(Tokens)
	return t, t.Load(path)
}

// Load reads a tokens file again. Where it cannot be read, is empty or has a
// mistake, the tokens stay as they were.
func (t *Tokens) Load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokensFile+1))
	if err != nil {
		return fmt.Errorf("tokens: reading %s: %w", path, err)
	}
	if len(text) > maxTokensFile {
		return fmt.Errorf("tokens: %s has more than %d bytes", path, maxTokensFile)
	}
	list, err := parseTokens(string(text))
	if err != nil {
		return fmt.Errorf("tokens: %s: %w", path, err)
	}
	t.list.Store(&list)
	return nil
}

// parseTokens reads a tokens file. Errors never repeat what may be a secret.
func parseTokens(text string) ([]token, error) {
	var list []token
	n := 0
	for line := range strings.Lines(text) {
		n++
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if len(words) != 3 {
			return nil, fmt.Errorf("line %d: write a name, scopes and a hash", n)
		}
		var one token
		for name := range strings.SplitSeq(words[1], ",") {
			scope := scopeOf(name)
			if scope == 0 {
				return nil, fmt.Errorf("line %d: a scope is none of read, purge and admin", n)
			}
			one.scopes |= scope
		}
		hash, ok := strings.CutPrefix(words[2], hashPrefix)
		sum, err := hex.DecodeString(hash)
		if !ok || err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("line %d: the hash is not %s and %d hexadecimal digits; put in no token itself", n, hashPrefix, 2*sha256.Size)
		}
		if copy(one.hash[:], sum); one.hash == sha256.Sum256(nil) {
			return nil, fmt.Errorf("line %d: the hash is that of an empty token", n)
		}
		if list = append(list, one); len(list) > maxTokens {
			return nil, fmt.Errorf("more than %d tokens", maxTokens)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("there is no token in it")
	}
	return list, nil
}

// scopes returns what a token is good for, 0 for nothing. It takes the same time
// whichever token it is, if any.
func (t *Tokens) scopes(secret []byte) Scope {
	sum := sha256.Sum256(secret)
	found := 0
	for _, one := range *t.list.Load() {
		same := subtle.ConstantTimeCompare(sum[:], one.hash[:])
		found |= subtle.ConstantTimeSelect(same, int(one.scopes), 0)
	}
	return Scope(found)
}

// Allows reports whether a token is good for a scope.
func (t *Tokens) Allows(secret []byte, scope Scope) bool {
	return t.scopes(secret)&(scope|ScopeAdmin) != 0
}

// bearer returns the token of an Authorization field, nil without one.
func bearer(authorization string) []byte {
	scheme, secret, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	return bytes.TrimSpace([]byte(secret))
}
