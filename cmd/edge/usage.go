package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// Here are our own words for command lines that are not understood. Cobra's speak of
// groups of flags, and of an unknown command where a file was named without its flag.

// noArguments refuses arguments. hint says what was probably meant; "" for nothing.
func noArguments(hint string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return nil
		case hint == "":
			return fmt.Errorf("%s takes no arguments, and was given %q", cmd.CommandPath(), args[0])
		}
		return fmt.Errorf("%s takes no arguments, and was given %q: %s", cmd.CommandPath(), args[0], hint)
	}
}

// oneArgument accepts a single argument, and calls it what where it is missing.
func oneArgument(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return fmt.Errorf("%s takes one %s: it is missing", cmd.CommandPath(), what)
		case 1:
			return nil
		}
		return fmt.Errorf("%s takes one %s, and was given %d", cmd.CommandPath(), what, len(args))
	}
}

// needs refuses a command line without a flag, which example shows.
func needs(cmd *cobra.Command, flag, example string) error {
	if !cmd.Flags().Changed(flag) {
		return fmt.Errorf("%s needs %s", cmd.CommandPath(), example)
	}
	return nil
}

// notTogether refuses a command line that has both of two flags.
func notTogether(cmd *cobra.Command, one, other string) error {
	if cmd.Flags().Changed(one) && cmd.Flags().Changed(other) {
		return fmt.Errorf("--%s and --%s do not go together", one, other)
	}
	return nil
}
