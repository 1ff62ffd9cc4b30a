package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"edge/admin"
	"edge/config"
)

func (a *app) checkCommand() *cobra.Command {
	var file, old string
	cmd := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Validate a configuration: every mistake at once, with its line",
		Long: `check reads a configuration as run would, with the files it names, and prints
every mistake as file:line:column: key: what is wrong. It exits 1 if there is any.

With --diff it also prints what would change from another configuration, a line
for each key: a valid file can be the wrong one too.`,
		Example: `  edge check -c edge.yaml
  edge check -c new.yaml --diff /etc/edge/edge.yaml`,
		Args: noArguments("name the file with -c"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needs(cmd, "config", "-c FILE"); err != nil {
				return err
			}
			return a.check(file, old)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the configuration `FILE`")
	cmd.Flags().StringVar(&old, "diff", "", "print what changes from this `FILE`")
	return cmd
}

func (a *app) check(file, old string) error {
	c, err := config.Load(file)
	if err != nil {
		return failure{err}
	}
	if path := c.Admin.TokensFile; path != "" {
		if _, err := admin.LoadTokens(path); err != nil {
			return failure{fmt.Errorf("%s: admin.tokens_file: %w", file, err)}
		}
	}
	if old != "" {
		before, err := config.Load(old)
		if err != nil {
			return failure{err}
		}
		for _, line := range config.Diff(before, c) {
			if _, err := fmt.Fprintln(a.stdout, line); err != nil {
				return failure{err}
			}
		}
	}
	_, err = fmt.Fprintf(a.stdout, "%s: ok: %s, %s, %s\n", file,
		plural(len(c.Listeners), "listener"), plural(len(c.Origins), "origin"), plural(len(c.Routes), "route"))
	return err
}

// plural counts what, whose plural is regular.
func plural[N int | int64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
