package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
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

// token is the token to be shown, "" for none.
func (f *adminFlags) token() (string, error) {
	token, from := os.Getenv(tokenVariable), tokenVariable
	if f.tokenFile != "" {
		text, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		token, from = string(text), "--token-file: "+f.tokenFile
		if token = strings.TrimSpace(token); token == "" {
			return "", fmt.Errorf("%s is empty", from)
		}
	}
	for _, c := range []byte(token) {
		if c <= ' ' || c >= 0x7f { // a tokens file of the node's, say, which has hashes
			return "", fmt.Errorf("%s: a token is one word of ASCII, and this is not", from)
		}
	}
	return token, nil
}

// adminClient talks to a node's admin listener.
type adminClient struct {
	http    *http.Client // without a timeout: contexts bound each request
	address string       // as it was given
	base    string
	token   string
}

func newAdminClient(f *adminFlags) (*adminClient, error) {
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	c := &adminClient{address: f.address, base: "http://" + f.address, token: token}
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
	// A node redirects nobody, and another's redirect must not look like its answer.
	c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// futile is an error that any other request would get too: nobody answers, who
// answers is no node, or it does not take our token.
type futile struct{ error }

func (f futile) Unwrap() error { return f.error }

// errNoNode: what answers speaks HTTP, but not as a node's admin listener does. It
// may be a data listener, whose origin has an answer for everything.
var errNoNode = errors.New("what answers there is not a node's admin listener (--admin says where that is)")

// maxSaid bounds how much is shown of what was answered in words, in bytes.
const maxSaid = 300

// answered is the error that a node's refusal is. text is what it said.
func answered(resp *http.Response, text string) error {
	said, _, more := strings.Cut(strings.TrimSpace(text), "\n") // a page of somebody else's has many lines
	if len(said) > maxSaid {
		said, more = strings.ToValidUTF8(said[:maxSaid], ""), true
	}
	if more {
		said += "..."
	}
	err := errors.New("the node answered " + resp.Status)
	if said != "" {
		err = fmt.Errorf("%w: %s", err, printable(said))
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return futile{fmt.Errorf("%w (give one with --token-file, or in %s)", err, tokenVariable)}
	case http.StatusForbidden:
		return futile{err}
	}
	return err
}

// unanswered is why there is no answer, without what the client's library calls the
// request.
func (c *adminClient) unanswered(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var refused *net.OpError
	if errors.As(err, &refused) && refused.Op == "dial" {
		return futile{fmt.Errorf("no node answers at %s (--admin says where its admin listener is): %w", c.address, err)}
	}
	return fmt.Errorf("asking the node at %s: %w", c.address, err)
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
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unanswered(err)
	}
	return resp, nil
}
