package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kproxy/internal/auth"
	"kproxy/internal/files"
)

// passwdOptions are the flags of kproxy passwd.
type passwdOptions struct {
	mechanism  string
	iterations int
	file       string
}

func newPasswdCommand() *cobra.Command {
	var o passwdOptions
	cmd := &cobra.Command{
		Use:   "passwd USER",
		Short: "Make a line of a users file, for a listener's login",
		Long: `passwd asks for a password and prints the line that a users file needs for USER.
The password is read from the terminal, without an echo; where stdin is no
terminal, its first line is the password. It cannot be read back from the line.

  kproxy passwd alice >> users`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{fmt.Errorf("passwd takes one user; see %s --help", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return passwd(cmd.Context(), args[0], &o, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&o.mechanism, "mechanism", auth.ScramSHA512, "the mechanism of the line: "+auth.ScramSHA512+" or "+auth.ScramSHA256+"; each serves PLAIN too")
	cmd.Flags().IntVar(&o.iterations, "iterations", auth.DefaultIterations, fmt.Sprintf("how much work a guess at the password is, %d or more", auth.MinIterations))
	cmd.Flags().StringVar(&o.file, "password-file", "", "the `file` that holds the password; it may be a pipe")
	return cmd
}

// maxPassword bounds a file with a password, in bytes.
const maxPassword = 1 << 20

func passwd(ctx context.Context, user string, o *passwdOptions, stdin io.Reader, stdout, stderr io.Writer) error {
	var password string
	var err error
	if o.file != "" {
		password, err = files.ReadSecretArgument(ctx, o.file, maxPassword)
	} else {
		password, err = readPassword(stdin, stderr)
	}
	if err != nil {
		return err
	}
	line, err := auth.UserLine(user, password, o.mechanism, o.iterations)
	if err != nil {
		return &usageError{err}
	}
	_, err = fmt.Fprintln(stdout, line)
	return err
}

// readPassword asks at a terminal, twice, or takes the first line of an input that is no
// terminal.
func readPassword(stdin io.Reader, stderr io.Writer) (string, error) {
	file, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		line, err := bufio.NewReader(stdin).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		_, _ = fmt.Fprint(stderr, prompt)
		b, err := term.ReadPassword(int(file.Fd()))
		_, _ = fmt.Fprintln(stderr)
		if err != nil {
			return "", err
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the passwords differ")
	}
	return typed[0], nil
}
