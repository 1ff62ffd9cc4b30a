package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// tokenVariable is the environment's name for a token.
const tokenVariable = "EDGE_TOKEN"

// adminFlags say where a node's admin listener is, and what opens it.
type adminFlags struct{ address, tokenFile string }

// register adds the flags to a command and those below it.
func (f *adminFlags) register(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.address, "admin", "127.0.0.1:9901", "the node's admin `ADDRESS:PORT`, or unix:/path")
	flags.StringVar(&f.tokenFile, "token-file", "", "the `FILE` that holds the token; else "+tokenVariable+" in the environment, if set")
}

// adminClient talks to a node's admin listener.
type adminClient struct {
	http        *http.Client // without a timeout: contexts bound each request
	base, token string
}

func newAdminClient(f *adminFlags) (*adminClient, error) {
	c := &adminClient{base: "http://" + f.address, token: os.Getenv(tokenVariable)}
	transport := &http.Transport{}
	if path, isUnix := strings.CutPrefix(f.address, "unix:"); isUnix {
		c.base = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
	} else if strings.HasPrefix(f.address, "http://") || strings.HasPrefix(f.address, "https://") {
		c.base = strings.TrimSuffix(f.address, "/")
	}
	c.http = &http.Client{Transport: transport}
	if f.tokenFile != "" {
		text, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		c.token = strings.TrimSpace(string(text))
	}
	return c, nil
}

// answered is the error that a node's refusal is. text is what it said.
func answered(resp *http.Response, text string) error {
	hint := ""
	if resp.StatusCode == http.StatusUnauthorized {
		hint = " (give one with --token-file, or in " + tokenVariable + ")"
	}
	return fmt.Errorf("the node answered %s: %s%s", resp.Status, printable(text), hint)
}

// ask makes one request; a body, where there is one, is JSON. The answer's body
// is the caller's to close.
func (c *adminClient) ask(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	return c.http.Do(r)
}
