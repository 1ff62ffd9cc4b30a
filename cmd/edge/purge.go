package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"edge/purge"
)

// Bounds of edge purge.
const (
	// purgeBatch is how many entries one request carries.
	purgeBatch = 500
	// purgeRequestTimeout bounds one request.
	purgeRequestTimeout = 40 * time.Second
	// purgeWaitTimeout bounds --wait, and purgeWaitPoll is the time between two
	// looks at a receipt.
	purgeWaitTimeout, purgeWaitPoll = 10 * time.Minute, 50 * time.Millisecond
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 1 << 20
	// maxNameLine bounds a line of names, in bytes: longer than the longest name,
	// so that one that is too long is refused by itself.
	maxNameLine = 4 * purge.MaxURL
)

// everything is the API's name for what purge all purges.
const everything = "everything"

// standardInput, given in place of names, has them read from there.
const standardInput = "-"

// namesFrom is what the help of each kind says of its names.
const namesFrom = `.

Without names, or with "-" alone, they are read from standard input, one a line. It
exits with 1 if any failed; the others are purged all the same.`

// purgeFlags are the flags of purge.
type purgeFlags struct {
	soft, wait bool
	admin      adminFlags
}

func (a *app) purgeCommand() *cobra.Command {
	var f purgeFlags
	cmd := &cobra.Command{
		Use:   "purge url|prefix|tag|host|all [NAME...]",
		Short: "Remove stored responses, or make them stale",
		Long: `purge tells the node at --admin to forget: URLs, all under a path, all with a
tag, all of a host, or everything. Without names, or with "-", it reads them from
standard input, one a line. What it prints is what each request matched.

It exits with 1 if any name failed; the others are purged all the same. A purge
that is in force, but would not survive the node's process since its journal cannot
be written, counts as failed. Where the first request shows that no other can do
better (no node answers, or not with this token), the rest is not sent. Interrupted,
it says how many were purged.`,
		Example: `  edge purge url https://www.example.com/index.html
  edge purge --soft tag product-7 product-8
  edge purge prefix www.example.com/static/
  edge purge tag --wait <tags.txt`,
		Args: cobra.ArbitraryArgs,
		RunE: oneOf,
	}
	flags := cmd.PersistentFlags()
	flags.BoolVar(&f.soft, "soft", false, "make stale instead of removing: stale-while-revalidate and stale-if-error go on working")
	flags.BoolVar(&f.wait, "wait", false, "wait until everything matched is counted")
	f.admin.register(cmd)
	for _, kind := range []struct{ name, field, example, short string }{
		{"url", "urls", "https://www.example.com/index.html", "Purge absolute URLs: every variant of each"},
		{"prefix", "prefixes", "www.example.com/static/", "Purge all under scheme://host/path/ or host/path/, by whole segments"},
		{"tag", "tags", "product-7 product-8", "Purge all that carries a tag"},
		{"host", "hosts", "www.example.com", "Purge all of a host, or host:port"},
	} {
		cmd.AddCommand(&cobra.Command{Use: kind.name + " [NAME...]", Short: kind.short, Long: kind.short + namesFrom,
			Example: "  edge purge " + kind.name + " " + kind.example + "\n  edge purge " + kind.name + " --soft <names.txt",
			RunE: func(_ *cobra.Command, args []string) error {
				return a.purgeNames(&f, kind.name, kind.field, args)
			}})
	}
	cmd.AddCommand(&cobra.Command{Use: "all", Short: "Purge everything", Args: noArguments("it purges everything"), RunE: func(*cobra.Command, []string) error {
		return a.purgeNames(&f, "all", everything, []string{""})
	}})
	return cmd
}

// purgeNames purges names of one kind, in batches.
func (a *app) purgeNames(f *purgeFlags, kind, field string, args []string) error {
	to, err := newAdminClient(&f.admin)
	if err != nil {
		return failure{err}
	}
	c := &purgeClient{to: to, field: field, flags: f}
	if len(args) > 1 && slices.Contains(args, standardInput) {
		return fmt.Errorf("names and %q, standard input, do not go together", standardInput)
	}
	if len(args) == 0 || args[0] == standardInput {
		if a.stdin == nil && isTerminal(os.Stdin) {
			a.complain(errors.New("reading names from the terminal, one a line; Ctrl-D ends them"))
		}
		if args, err = readNames(a.input()); err != nil {
			return failure{err}
		}
	}
	if len(args) == 0 {
		return failure{errors.New("there is nothing to purge: give names, or write them to standard input")}
	}
	// Not sooner: while names are read, a signal just ends the process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t := a.purgeAll(ctx, c, args)
	more := ""
	if t.inexact {
		more = " or more"
	}
	if t.purged > 0 {
		_, _ = fmt.Fprintf(a.stdout, "%s: %d purged, %d%s stored responses matched\n", kind, t.purged, t.matched, more)
	}
	switch failed := len(args) - t.purged; {
	case ctx.Err() != nil && failed > 0:
		return failure{fmt.Errorf("interrupted: %d of %d were purged, and of what was being sent it is not known", t.purged, len(args))}
	case failed > 0:
		return failure{fmt.Errorf("%d of %d failed", failed, len(args))}
	}
	return nil
}

// purgeTally is what became of names.
type purgeTally struct {
	purged  int
	matched int64
	inexact bool // more may have matched
}

// purgeAll purges names in batches, and complains of those that fail. It ends early
// with ctx, and where the first request was futile.
func (a *app) purgeAll(ctx context.Context, c *purgeClient, names []string) (t purgeTally) {
	bar := a.newBar(len(names) > purgeBatch)
	defer bar.clear()
	for done := 0; done < len(names) && ctx.Err() == nil; {
		batch := names[done:min(done+purgeBatch, len(names))]
		var err error
		for _, r := range c.purgeBatch(ctx, batch) {
			if err = r.err; err == nil {
				t.purged += len(r.names)
				t.matched += r.answer.Matched
				t.inexact = t.inexact || !r.answer.Exact
			} else if ctx.Err() == nil {
				bar.clear()
				a.complain(fmt.Errorf("%s: %w", c.describe(r.names), err))
			}
		}
		done += len(batch)
		if unsent := len(names) - done; unsent > 0 && t.purged == 0 && errors.As(err, new(futile)) {
			a.complain(fmt.Errorf("%d more were not sent", unsent))
			break
		}
		bar.show(int64(done), int64(len(names)), fmt.Sprintf("%d of %d", done, len(names)))
	}
	return t
}

// describe names what failed, shortly.
func (c *purgeClient) describe(names []string) string {
	const most = 100
	if c.field == everything {
		return everything // which takes no names
	}
	first := printable(names[0])
	if first == "" {
		first = `""`
	}
	if len(first) > most {
		first = strings.ToValidUTF8(first[:most], "") + "..."
	}
	if len(names) == 1 {
		return first
	}
	return fmt.Sprintf("%s and %d more", first, len(names)-1)
}

// readNames reads names, one a line; empty lines do not count.
func readNames(r io.Reader) ([]string, error) {
	var names []string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxNameLine)
	n := 0
	for ; lines.Scan(); n++ {
		if name := strings.TrimSpace(lines.Text()); name != "" {
			names = append(names, name)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d has more than %d bytes: nothing was purged", n+1, maxNameLine)
	} else if err != nil {
		return nil, fmt.Errorf("reading names: %w", err)
	}
	return names, nil
}

// purgeClient talks to a node's purge API.
type purgeClient struct {
	to    *adminClient
	field string
	flags *purgeFlags
}

// purgeResult is what became of some names.
type purgeResult struct {
	names  []string
	answer purge.Answer
	err    error
}

// errRefused: the node understood and refused the request whole, or would have:
// it is not for one name's sake that others are not purged.
var errRefused = errors.New("refused")

// purgeBatch purges names in one request. A request is taken whole or not at
// all: where it is refused, each name is sent by itself, so that one that is
// wrong keeps nobody else from being purged.
func (c *purgeClient) purgeBatch(ctx context.Context, names []string) []purgeResult {
	answer, err := c.send(ctx, names)
	if len(names) == 1 || !errors.Is(err, errRefused) {
		return []purgeResult{{names, answer, err}}
	}
	var all []purgeResult
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		answer, err := c.send(ctx, []string{name})
		all = append(all, purgeResult{[]string{name}, answer, err})
	}
	return all // without those that ctx left no time for
}

// send sends one request and waits for its count where that is wanted.
func (c *purgeClient) send(ctx context.Context, names []string) (purge.Answer, error) {
	for _, name := range names {
		// JSON has no other text; what is put in its place would be another name.
		if !utf8.ValidString(name) {
			return purge.Answer{}, fmt.Errorf("%w: it is not UTF-8", errRefused)
		}
	}
	var what any = names
	if c.field == everything {
		what = true
	}
	body, err := json.Marshal(map[string]any{c.field: what, "soft": c.flags.soft})
	if err != nil {
		return purge.Answer{}, err
	}
	answer, err := c.ask(ctx, http.MethodPost, "/purge", body)
	if err != nil && len(names) == 1 {
		// Whoever gave one name need not be told which of the request's it is.
		err = withoutPlace(err, c.field+"[0]: ")
	}
	if err != nil || !c.flags.wait {
		return answer, err
	}
	ctx, cancel := context.WithTimeout(ctx, purgeWaitTimeout)
	defer cancel()
	tick := time.NewTicker(purgeWaitPoll)
	defer tick.Stop()
	for !answer.Exact && err == nil {
		select {
		case <-ctx.Done():
			return answer, errors.New("purged, but not counted to the end")
		case <-tick.C:
			answer, err = c.ask(ctx, http.MethodGet, "/purges/"+answer.ID, nil)
		}
	}
	return answer, err
}

// withoutPlace is a refusal without the place in the request that it begins with.
func withoutPlace(err error, place string) error {
	if reason, ok := strings.CutPrefix(err.Error(), errRefused.Error()+": "+place); ok {
		return fmt.Errorf("%w: %s", errRefused, reason)
	}
	return err
}

// ask makes one request of the API.
func (c *purgeClient) ask(ctx context.Context, method, path string, body []byte) (answer purge.Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, purgeRequestTimeout)
	defer cancel()
	resp, err := c.to.ask(ctx, method, path, body)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer, fmt.Errorf("reading the answer: %w", err)
	}
	var said struct {
		purge.Answer
		Error string `json:"error"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		said.Error = strings.TrimSpace(string(text))
	}
	switch {
	case resp.StatusCode == http.StatusOK && said.Applied:
		return said.Answer, nil
	case resp.StatusCode < http.StatusBadRequest: // a purge must not be believed of anybody's 200
		return answer, futile{errNoNode}
	case resp.StatusCode == http.StatusServiceUnavailable && said.Applied:
		return said.Answer, fmt.Errorf("purged, but not durably: %s", said.Detail)
	case resp.StatusCode == http.StatusBadRequest, resp.StatusCode == http.StatusRequestEntityTooLarge:
		return answer, fmt.Errorf("%w: %s", errRefused, said.Error)
	}
	return answer, answered(resp, said.Error)
}

// input is standard input.
func (a *app) input() io.Reader {
	if a.stdin != nil {
		return a.stdin
	}
	return os.Stdin
}
