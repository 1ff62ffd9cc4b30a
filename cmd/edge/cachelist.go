package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"edge/admin"
)

// Bounds of edge cache.
const (
	// listTimeout is how long a node may take to begin its answer: it may look
	// through all that it has stored for one URL first.
	listTimeout = 10 * time.Minute
	// listSilence is how long a list or a body may pause.
	listSilence = time.Minute
	// maxListLine bounds what is said of one stored response, in bytes.
	maxListLine = 16 << 20
)

// cacheListFlags are the flags of cache ls.
type cacheListFlags struct {
	prefix, tag string
	limit       int
	json        bool
	admin       adminFlags
}

func (a *app) cacheListCommand() *cobra.Command {
	var f cacheListFlags
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List what a running node has stored",
		Long: `ls asks the node at --admin what it has stored, and prints a line for each stored
response, in no particular order: how much of its body is stored, its age, how much
longer it is fresh (with a minus: since when it is not), how often it was found,
in which tier, its state, its status, and its URL. A size "1.0 MiB of 4.0 GiB" is
that of a body of which parts are stored.

States: fresh; stale; no-cache, which the origin says to validate before each use;
invalid, to be validated since an unsafe request, or a loss on a disk, made it so;
uncacheable, the memory that there is nothing to share. Stored responses that come
or go meanwhile may be missed.

It exits with 1 if the list broke off.`,
		Example: `  edge cache ls
  edge cache ls --prefix www.example.com/static/ --limit 20
  edge cache ls --tag product-7 --json | jq -r .url`,
		Args: noArguments("select with --prefix and --tag; edge cache get shows one URL"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range []string{"prefix", "tag"} {
				// A variable that is not set must not select everything.
				if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
					return fmt.Errorf("--%s is empty: without it, everything is listed", name)
				}
			}
			return a.listCache(&f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.prefix, "prefix", "", "only what is under a `URL`, scheme://host/path/ or host/path/, by whole segments")
	flags.StringVar(&f.tag, "tag", "", "only what carries a `TAG`")
	flags.IntVar(&f.limit, "limit", 0, "stop after `N` (default: none)")
	flags.BoolVar(&f.json, "json", false, "print a line of JSON for each")
	f.admin.register(cmd)
	return cmd
}

// listCache is edge cache ls.
func (a *app) listCache(f *cacheListFlags) error {
	args := url.Values{}
	if f.limit < 0 {
		return errors.New("--limit is a number above 0, or 0 for none")
	} else if f.limit > 0 {
		args.Set("limit", strconv.Itoa(f.limit))
	}
	if f.prefix != "" {
		args.Set("prefix", f.prefix)
	}
	if f.tag != "" {
		args.Set("tag", f.tag)
	}
	out := bufio.NewWriter(a.stdout)
	end, err := a.askCache(&f.admin, "/cache/entries?"+args.Encode(), admin.ListType, func(body io.Reader) (*admin.ListEnd, error) {
		if !f.json {
			if _, err := fmt.Fprintf(out, rowFormat, "SIZE", "AGE", "LEFT", "HITS", "TIER", "STATE", "STATUS", "URL"); err != nil {
				return nil, err
			}
		}
		return readList(body, func(line []byte, s *admin.Stored) error {
			if f.json {
				return writeLine(out, line)
			}
			return writeRow(out, s)
		}, out.Flush)
	})
	if err != nil {
		_ = out.Flush() // what came before is right
		return err
	}
	if err := out.Flush(); err != nil {
		return failure{unwritten(err)}
	}
	if end.More {
		a.complain(fmt.Errorf("more is stored: --limit ended the list after %d", end.Listed))
	}
	return nil
}

// askCache asks the cache API, and gives the answer's body, which is of contentType,
// to read, whose every pause is bounded.
func (a *app) askCache(f *adminFlags, path, contentType string, read func(io.Reader) (*admin.ListEnd, error)) (*admin.ListEnd, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c, err := newAdminClient(f)
	if err != nil {
		return nil, failure{err}
	}
	silence := time.AfterFunc(listTimeout, func() { cancel(errSilent) })
	defer silence.Stop()
	resp, err := c.ask(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, failure{because(ctx, err)}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what came is shown
		return nil, failure{refusalOf(resp, text)}
	}
	if got := resp.Header.Get("Content-Type"); got != contentType { // anybody's 200 is no list, nor a stored body
		return nil, failure{fmt.Errorf("%w: it answers with %q", errNoNode, got)}
	}
	end, err := read(&watched{resp.Body, silence})
	if err != nil {
		return nil, failure{because(ctx, err)}
	}
	return end, nil
}

// errSilent: nothing came for too long.
var errSilent = errors.New("the node has gone silent")

// because is why ctx ended, if that is what err comes from; nothing is said of it
// where whoever read our output has had enough.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, syscall.EPIPE) {
		if errors.Is(context.Cause(ctx), errSilent) {
			return errSilent
		}
		return errors.New("interrupted")
	}
	return unwritten(err)
}

// unwritten is err, in no words where whoever read our output has had enough.
func unwritten(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return errors.New("")
	}
	return err
}

// refusalOf is what a node said instead of an answer.
func refusalOf(resp *http.Response, text []byte) error {
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(text, &said) != nil {
		said.Error = strings.TrimSpace(string(text))
	}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusConflict, http.StatusBadRequest:
		return errors.New(printable(said.Error))
	}
	return answered(resp, said.Error)
}

// watched puts off the end of patience with every piece that comes.
type watched struct {
	io.Reader
	silence *time.Timer
}

// Read reads.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.silence.Reset(listSilence)
	return n, err
}

// readList reads a list, and calls f with each line; idle when there is nothing
// new. Only a list that has its end is one.
func readList(body io.Reader, f func(line []byte, s *admin.Stored) error, idle func() error) (*admin.ListEnd, error) {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 64<<10), maxListLine)
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			if err := idle(); err != nil {
				return nil, err
			}
			continue
		}
		var v struct {
			admin.Stored
			admin.ListEnd
		}
		if err := json.Unmarshal(line, &v); err != nil {
			return nil, fmt.Errorf("the node's list is not understood: %w", err)
		}
		if v.End {
			return &v.ListEnd, nil
		}
		if err := f(line, &v.Stored); err != nil {
			return nil, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("the list broke off: %w", err)
	}
	return nil, errors.New("the list broke off")
}

func writeLine(out *bufio.Writer, line []byte) error {
	if _, err := out.Write(line); err != nil {
		return err
	}
	return out.WriteByte('\n')
}

// rowFormat is a row of the table. What is of any length comes last, so that
// rows are aligned as they come.
const rowFormat = "%20s %8s %8s %8s  %-11s %-11s %6s  %s\n"

func writeRow(out *bufio.Writer, s *admin.Stored) error {
	_, err := fmt.Fprintf(out, rowFormat, bodySize(s), span(s.Age), span(s.Left), strconv.FormatUint(s.Hits, 10), s.Tier, s.State,
		statusText(s), printable(s.URL))
	return err
}

// uncacheable is the state of what is no response: a note that there is nothing to share.
const uncacheable = "uncacheable"

// statusText writes a response's status.
func statusText(s *admin.Stored) string {
	if s.State == uncacheable {
		return "-"
	}
	return strconv.Itoa(s.Status)
}

// bodySize writes how much of a body is stored.
func bodySize(s *admin.Stored) string {
	switch {
	case s.State == uncacheable:
		return "-"
	case s.Held == s.Size:
		return bytesText(s.Size)
	case s.Size < 0:
		return bytesText(s.Held) + " so far"
	}
	return bytesText(s.Held) + " of " + bytesText(s.Size)
}

// bytesText writes a size to two digits or more.
func bytesText(n int64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, i := float64(n)/(1<<10), 0
	for v >= 1<<10 && i < len(units)-1 {
		v /= 1 << 10
		i++
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[i:i+1] + "iB"
}

// span writes seconds in the two greatest units that there are: 3d04h, 5m07s.
func span(seconds float64) string {
	sign := ""
	if seconds < 0 {
		sign, seconds = "-", -seconds
	}
	n := int64(seconds)
	switch {
	case n >= 365*86400:
		return fmt.Sprintf("%s%dy%02dd", sign, n/(365*86400), n/86400%365)
	case n >= 86400:
		return fmt.Sprintf("%s%dd%02dh", sign, n/86400, n/3600%24)
	case n >= 3600:
		return fmt.Sprintf("%s%dh%02dm", sign, n/3600, n/60%60)
	case n >= 60:
		return fmt.Sprintf("%s%dm%02ds", sign, n/60, n%60)
	}
	return fmt.Sprintf("%s%ds", sign, n)
}

// printable is s without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
