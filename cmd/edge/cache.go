package main

import (
	"bufio"
	"fmt"

	"github.com/spf13/cobra"

	"edge/cache/storage/disk"
	"edge/cache/storage/vfs"
)

func (a *app) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Look at what is stored",
		Long: `cache shows what is stored: by a running node in memory and on its disks (ls, get),
which the node's admin listener tells, or on the disk of a stopped one (verify).`,
		Example: `  edge cache ls --prefix www.example.com/static/
  edge cache ls --tag product-7 --json
  edge cache get https://www.example.com/index.html
  edge cache get https://www.example.com/logo.png --body >logo.png
  edge cache verify /var/cache/edge`,
		Args: cobra.ArbitraryArgs,
		RunE: oneOf,
	}
	cmd.AddCommand(a.cacheListCommand(), a.cacheGetCommand(), &cobra.Command{
		Use:   "verify PATH",
		Short: "Check every record of a stopped node's disk",
		Long: `verify reads all of a directory that cache.disk names, while no node has it open,
and checks each record against its checksums. It changes nothing: a node drops
what is damaged when it meets it, and fetches it again.

It exits with 1 if anything is damaged. A torn end of a segment is what a crash or a
power loss leaves, and costs nothing but what was being written.`,
		Example: "  edge cache verify /var/cache/edge",
		Args:    oneArgument("directory"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.verifyDisk(args[0]) },
	})
	return cmd
}

// verifyDisk is edge cache verify.
func (a *app) verifyDisk(dir string) error {
	bar := a.newBar(true)
	report, err := disk.Verify(vfs.OS{}, dir, func(done, total int64) {
		bar.show(done, total, fmt.Sprintf("%3d %%", done*100/max(total, 1)))
	})
	bar.clear()
	if err != nil {
		return failure{err}
	}
	out := bufio.NewWriter(a.stdout)
	for _, p := range report.Places {
		fmt.Fprintln(out, p)
	}
	damaged := report.Damaged - report.Torn
	fmt.Fprintf(out, "%s, %s, %s; %d damaged, %s\n", plural(report.Segments, "segment"), bytesText(report.Bytes),
		plural(report.Records, "record"), damaged, plural(report.Torn, "torn end"))
	err = out.Flush()
	switch {
	case damaged > 0:
		return failure{fmt.Errorf("%s: %s", dir, plural(damaged, "damaged place"))}
	case err != nil:
		return failure{unwritten(err)} // nobody was told that it is sound
	}
	return nil
}
