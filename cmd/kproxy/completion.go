package main

import (
	"github.com/spf13/cobra"
)

// values completes a flag by fixed values.
func values(all ...cobra.Completion) cobra.CompletionFunc {
	return cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp)
}

// beginnings completes a flag by the beginnings of its value, without a space after them.
func beginnings(all ...cobra.Completion) cobra.CompletionFunc {
	return cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace)
}

// extensions completes a flag by files with one of these extensions, and folders.
func fileExtensions(all ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(all, cobra.ShellCompDirectiveFilterFileExt)
}

// flagValues are the completions of flags' values, in every command that has the flag.
// Other flags are completed by files if their value is a FILE, as a shell does by
// default.
var flagValues = map[string]cobra.CompletionFunc{
	"admin": beginnings("http://127.0.0.1:9400", "https://"),
	"sasl":  values("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"),
	"via": beginnings("ssh://\tan SSH host", "socks5://\ta SOCKS proxy", "http://\tan HTTP proxy, by CONNECT",
		"https://\tthe same over TLS", "exec:\ta program's stdin and stdout"),
	"mechanism":   values("SCRAM-SHA-512", "SCRAM-SHA-256"),
	"state":       values("arriving", "open", "ending"),
	"path":        values("splice", "copy"),
	"sort":        values("id", "-id", "opened", "-opened", "idle", "-idle", "bytes", "-bytes", "in_flight", "-in_flight"),
	"config":      fileExtensions("yaml", "yml"),
	"config-from": fileExtensions("properties", "conf", "config", "cfg", "ini"),
	"ca":          fileExtensions("pem", "crt", "cer"),
	"cert":        fileExtensions("pem", "crt", "cer"),
	"key":         fileExtensions("pem", "key"),
}

// noValues are flags whose values cannot be completed.
var noValues = []string{
	"node", "dial", "listen", "advertise", "port", "server-name", "username", "password-env", "aws-region", "aws-profile", "exec", "cluster", "timeout",
	"iterations", "listener", "client", "client-id", "user", "software", "broker", "limit", "at", "text",
}

// completeFlags gives the flags of a command and of those below it their completions.
// Arguments are HOST:PORT and the like: no files.
func completeFlags(cmd *cobra.Command) error {
	for _, c := range cmd.Commands() {
		if err := completeFlags(c); err != nil {
			return err
		}
	}
	for name, complete := range flagValues {
		if cmd.Flags().Lookup(name) == nil {
			continue
		}
		if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
			return err
		}
	}
	for _, name := range noValues {
		if cmd.Flags().Lookup(name) == nil {
			continue
		}
		if err := cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions); err != nil {
			return err
		}
	}
	if cmd.ValidArgsFunction == nil && cmd.HasParent() {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	return nil
}

// strictCompletion makes cobra's completion commands end with 2 for unknown arguments, as
// the other commands do.
func strictCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args = noArguments
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		c.Short = "Print the script that completes commands in a shell"
		for _, shell := range c.Commands() {
			shell.Args = noArguments
		}
	}
}
