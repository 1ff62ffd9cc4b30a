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
	"strings"
	"syscall"
	"time"

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
	// barWidth is how many columns a progress bar has.
	barWidth = 30
)

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
be written, counts as failed.`,
		Example: `  edge purge url https://www.example.com/index.html
  edge purge --soft tag product-7 product-8
  edge purge prefix www.example.com/static/
  edge purge tag --wait <tags.txt`,
	}
	flags := cmd.PersistentFlags()
	flags.BoolVar(&f.soft, "soft", false, "make stale instead of removing: stale-while-revalidate and stale-if-error go on working")
	flags.BoolVar(&f.wait, "wait", false, "wait until everything matched is counted and its space freed")
	f.admin.register(cmd)
	for _, kind := range []struct{ name, field, short string }{
		{"url", "urls", "Purge absolute URLs: every variant of each"},
		{"prefix", "prefixes", "Purge all under scheme://host/path/ or host/path/, by whole segments"},
		{"tag", "tags", "Purge all that carries a tag"},
		{"host", "hosts", "Purge all of a host, or host:port"},
	} {
		cmd.AddCommand(&cobra.Command{Use: kind.name + " [NAME...]", Short: kind.short, RunE: func(_ *cobra.Command, args []string) error {
			return a.purgeNames(&f, kind.name, kind.field, args)
		}})
	}
	cmd.AddCommand(&cobra.Command{Use: "all", Short: "Purge everything", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return a.purgeNames(&f, "all", "everything", []string{""})
	}})
	return cmd
}

// purgeNames purges names of one kind, in batches.
func (a *app) purgeNames(f *purgeFlags, kind, field string, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	to, err := newAdminClient(&f.admin)
	if err != nil {
		return failure{err}
	}
	c := &purgeClient{to: to, field: field, flags: f}
	if len(args) == 0 || len(args) == 1 && args[0] == "-" {
		if args, err = readNames(a.input()); err != nil {
			return failure{err}
		}
	}
	if len(args) == 0 {
		return failure{errors.New("there is nothing to purge: give names, or write them to standard input")}
	}
	bar := a.newBar(len(args))
	var matched int64
	failed, exact := 0, true
	for done := 0; done < len(args) && ctx.Err() == nil; {
		batch := args[done:min(done+purgeBatch, len(args))]
		for _, r := range c.purgeBatch(ctx, batch) {
			if r.err != nil {
				failed += len(r.names)
				bar.clear()
				a.complain(fmt.Errorf("%s: %w", describe(r.names), r.err))
				continue
			}
			matched += r.answer.Matched
			exact = exact && r.answer.Exact
		}
		done += len(batch)
		bar.show(done)
	}
	bar.clear()
	if ctx.Err() != nil {
		return failure{errors.New("interrupted")}
	}
	more := ""
	if !exact {
		more = " or more"
	}
	if purged := len(args) - failed; purged > 0 {
		_, _ = fmt.Fprintf(a.stdout, "%s: %d purged, %d%s stored responses matched\n", kind, purged, matched, more)
	}
	if failed > 0 {
		return failure{fmt.Errorf("%d of %d failed", failed, len(args))}
	}
	return nil
}

// describe names what failed, shortly.
func describe(names []string) string {
	const most = 100
	first := printable(names[0])
	if first == "" {
		return "everything" // which takes no names
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
	lines.Buffer(nil, purge.MaxURL+2)
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" {
			names = append(names, name)
		}
	}
	if err := lines.Err(); err != nil {
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

// errRefused: the node understood and refused the request whole.
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
		answer, err := c.send(ctx, []string{name})
		all = append(all, purgeResult{[]string{name}, answer, err})
	}
	return all
}

// send sends one request and waits for its count where that is wanted.
func (c *purgeClient) send(ctx context.Context, names []string) (purge.Answer, error) {
	var what any = names
	if c.field == "everything" {
		what = true
	}
	body, err := json.Marshal(map[string]any{c.field: what, "soft": c.flags.soft})
	if err != nil {
		return purge.Answer{}, err
	}
	answer, err := c.ask(ctx, http.MethodPost, "/purge", body)
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
			return answer, errors.New("purged, but not all counted in time")
		case <-tick.C:
			answer, err = c.ask(ctx, http.MethodGet, "/purges/"+answer.ID, nil)
		}
	}
	return answer, err
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
	case resp.StatusCode == http.StatusOK:
		return said.Answer, nil
	case resp.StatusCode == http.StatusServiceUnavailable && said.Applied:
		return said.Answer, fmt.Errorf("purged, but not durably: %s", said.Detail)
	case resp.StatusCode == http.StatusBadRequest:
		return answer, fmt.Errorf("%w: %s", errRefused, said.Error)
	}
	return answer, fmt.Errorf("the node answered %s: %s", resp.Status, said.Error)
}

// bar is a progress bar on standard error, where that is a terminal and there is
// more than one batch to show.
type bar struct {
	out   io.Writer // nil: none
	total int
	drawn int
}

func (a *app) newBar(total int) *bar {
	b := &bar{total: total}
	if f, ok := a.stderr.(*os.File); ok && total > purgeBatch {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			b.out = f
		}
	}
	return b
}

func (b *bar) show(done int) {
	if b.out == nil {
		return
	}
	full := barWidth * done / b.total
	line := fmt.Sprintf("\r[%s%s] %d of %d", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done, b.total)
	b.drawn = len(line)
	_, _ = io.WriteString(b.out, line)
}

func (b *bar) clear() {
	if b.out != nil && b.drawn > 0 {
		_, _ = fmt.Fprintf(b.out, "\r%*s\r", b.drawn, "")
		b.drawn = 0
	}
}

// input is standard input.
func (a *app) input() io.Reader {
	if a.stdin != nil {
		return a.stdin
	}
	return os.Stdin
}
