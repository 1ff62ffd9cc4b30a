package main

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"edge/admin"
)

// cacheGetFlags are the flags of cache get.
type cacheGetFlags struct {
	variant    string
	body, json bool
	admin      adminFlags
}

func (a *app) cacheGetCommand() *cobra.Command {
	var f cacheGetFlags
	cmd := &cobra.Command{
		Use:   "get URL",
		Short: "Show what a running node has stored for a URL",
		Long: `get asks the node at --admin for every stored response of an absolute URL, as its
route's rules for keys read it, and prints what the node knows of each: its head,
the request fields that chose it, how long it may be used and in which way, its tags
and groups, where it lies, and which ranges are held where not all is. Nothing is
fetched, and it counts as no hit.

With --body it writes the body to standard output instead, byte for byte as it is
stored. Where there are several variants, --variant names one.

It exits with 1 if nothing is stored, or if the body is not all there.`,
		Example: `  edge cache get https://www.example.com/index.html
  edge cache get https://www.example.com/index.html --json | jq .head
  edge cache get https://www.example.com/index.html --body --variant 5a1b0c2d3e4f5a6b`,
		Args: oneArgument("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notTogether(cmd, "body", "json"); err != nil {
				return err
			}
			if f.body {
				return a.getBody(&f, args[0])
			}
			return a.getCache(&f, args[0])
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.body, "body", false, "write the body to standard output")
	flags.StringVar(&f.variant, "variant", "", "only the variant with this `ID`")
	flags.BoolVar(&f.json, "json", false, "print a line of JSON for each")
	f.admin.register(cmd)
	return cmd
}

// getCache is edge cache get.
func (a *app) getCache(f *cacheGetFlags, address string) error {
	out := bufio.NewWriter(a.stdout)
	shown := 0
	_, err := a.askCache(&f.admin, "/cache/entry?"+url.Values{"url": {address}}.Encode(), admin.ListType, func(body io.Reader) (*admin.ListEnd, error) {
		return readList(body, func(line []byte, s *admin.Stored) error {
			if f.variant != "" && s.Variant != f.variant {
				return nil
			}
			if shown++; f.json {
				return writeLine(out, line)
			}
			if shown > 1 {
				_ = out.WriteByte('\n') // the next write fails too
			}
			return writeStored(out, s)
		}, out.Flush)
	})
	if flushed := out.Flush(); err == nil && flushed != nil {
		err = failure{unwritten(flushed)}
	}
	if err == nil && shown == 0 {
		err = failure{fmt.Errorf("no variant %s is stored for this URL", printable(f.variant))}
	}
	return named(address, err)
}

// named says of which URL err is, if err says anything.
func named(address string, err error) error {
	if err == nil || err.Error() == "" {
		return err
	}
	if address == "" {
		address = `""`
	}
	return failure{fmt.Errorf("%s: %w", printable(address), err)}
}

// getBody is edge cache get --body.
func (a *app) getBody(f *cacheGetFlags, address string) error {
	args := url.Values{"url": {address}}
	if f.variant != "" {
		args.Set("variant", f.variant)
	}
	_, err := a.askCache(&f.admin, "/cache/body?"+args.Encode(), admin.BodyType, func(body io.Reader) (*admin.ListEnd, error) {
		// The length was announced: a body that is cut off is an error.
		n, err := io.Copy(a.stdout, body)
		if err != nil {
			err = fmt.Errorf("what was written is not the whole body: after %d bytes: %w", n, err)
		}
		return nil, err
	})
	return named(address, err)
}

// writeStored prints all there is to say of a stored response.
func writeStored(out *bufio.Writer, s *admin.Stored) error {
	d := s.Detail
	if d == nil {
		d = new(admin.Detail)
	}
	fields := []struct{ name, value string }{
		{"variant", s.Variant},
		{"status", statusText(s)},
		{"state", strings.Join(append([]string{s.State}, d.Flags...), ", ")},
		{"body", bodySize(s)},
		{"tier", s.Tier},
		{"hits", fmt.Sprint(s.Hits)},
		{"stored at", s.StoredAt},
		{"response time", d.ResponseTime},
		{"sequence", fmt.Sprint(d.Sequence)},
		{"age", span(s.Age)},
		{"freshness lifetime", fmt.Sprintf("%s, %s left", span(d.FreshnessLifetime), span(s.Left))},
		{"stale-while-revalidate", span(d.StaleWhileRevalidate)},
		{"stale-if-error", span(d.StaleIfError)},
		{"stale, disconnected", span(d.StaleDisconnected)},
		{"etag", d.ETag},
		{"last modified", d.LastModified},
		{"tags", strings.Join(d.Tags, " ")},
		{"groups", strings.Join(d.Groups, " ")},
		{"ranges held", rangesText(d.Ranges)},
		{"chosen by", strings.Join(d.Nominated, "; ")},
	}
	_, err := fmt.Fprintln(out, printable(s.URL))
	for _, f := range fields {
		if f.value != "" && err == nil {
			_, err = fmt.Fprintf(out, "  %-23s %s\n", f.name, printable(f.value))
		}
	}
	for _, list := range [][]string{d.Head, d.Trailers} {
		for i, line := range list {
			if i == 0 && err == nil {
				err = out.WriteByte('\n')
			}
			if err == nil {
				_, err = fmt.Fprintf(out, "  %s\n", printable(line))
			}
		}
	}
	return err
}

// rangesText writes byte ranges as HTTP does: with their last byte.
func rangesText(ranges [][2]int64) string {
	list := make([]string, len(ranges))
	for i, r := range ranges {
		list[i] = fmt.Sprintf("%d-%d", r[0], r[1]-1)
	}
	return strings.Join(list, ", ")
}
