package awsauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"

	"kproxy/internal/shell"
)

const (
	// processTimeout bounds how long a credential_process runs.
	processTimeout = 30 * time.Second
	// processGrace is how long to wait for the end of the output after the command has
	// ended or was killed: a child may hold it open.
	processGrace = time.Second
	// maxProcessOutput bounds the output. Credentials take some 1,500 bytes.
	maxProcessOutput = 64 << 10
)

// ownProcess replaces a credential_process of the SDK's, which has no bound for its
// output, waits for all that the command has started, and writes its stderr to kproxy's
// own.
func (s *search) ownProcess(loaded *awssdk.Config) {
	profiles := profilesOf(loaded)
	if len(profiles) == 0 || !runsProcess(loaded.Credentials, profiles[len(profiles)-1]) {
		return
	}
	command := profiles[len(profiles)-1].CredentialProcess
	loaded.Credentials = s.noting(processcreds.NewProviderCommand(
		processcreds.NewCommandBuilderFunc(func(ctx context.Context) (*exec.Cmd, error) { return processCommand(ctx, command), nil }),
		func(o *processcreds.Options) { o.Timeout = processTimeout },
	))
	for _, p := range slices.Backward(profiles) {
		if p.RoleARN != "" {
			loaded.Credentials = s.assume(*loaded, p.RoleARN, func(o *stscreds.AssumeRoleOptions) {
				o.RoleSessionName = p.RoleSessionName
				if p.ExternalID != "" {
					o.ExternalID = &p.ExternalID
				}
				if p.RoleDurationSeconds != nil {
					o.Duration = *p.RoleDurationSeconds
				}
			})
		}
	}
}

// profilesOf returns the profile in use, the one that it builds on, and so on.
func profilesOf(loaded *awssdk.Config) (all []*config.SharedConfig) {
	for _, source := range loaded.ConfigSources {
		if shared, ok := source.(config.SharedConfig); ok {
			for p := &shared; p != nil; p = p.Source {
				all = append(all, p)
			}
		}
	}
	return all
}

// runsProcess reports whether the credentials in use come from the command of the
// profile that all others build on, as the SDK decides it.
func runsProcess(used awssdk.CredentialsProvider, base *config.SharedConfig) bool {
	if awssdk.IsCredentialsProvider(used, (*processcreds.Provider)(nil)) {
		return true
	}
	return awssdk.IsCredentialsProvider(used, (*stscreds.AssumeRoleProvider)(nil)) && base.CredentialProcess != "" &&
		!base.Credentials.HasKeys() && base.CredentialSource == "" && base.WebIdentityTokenFile == "" && base.SSOAccountID == "" && base.LoginSession == ""
}

// processCommand is the command as AWS's tools run it, by a shell. It gets no
// terminal, and its stderr is dropped, because it may repeat secrets.
func processCommand(ctx context.Context, command string) *exec.Cmd {
	path, flag := shell.Command()
	cmd := exec.CommandContext(ctx, path, flag, command) //nolint:gosec // the AWS configuration names it
	cmd.Env = os.Environ()
	cmd.WaitDelay = processGrace
	cmd.Stdout = &limit{rest: maxProcessOutput} // in front of the SDK's own buffer
	return cmd
}

// limit is a writer that fails once more than rest bytes have come.
type limit struct{ rest int }

var errTooLong = errors.New("the output is too long")

func (l *limit) Write(b []byte) (int, error) {
	if l.rest -= len(b); l.rest < 0 {
		return 0, errTooLong
	}
	return len(b), nil
}

var _ io.Writer = (*limit)(nil)

// processFailure describes the failure of a credential_process, without its output.
func processFailure(err error) error {
	const name = "credential_process, which the AWS profile names,"
	exit, exited := errors.AsType[*exec.ExitError](err)
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, mistyped := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case errors.Is(err, errTooLong):
		return fmt.Errorf("%s writes more than %d bytes", name, maxProcessOutput)
	case errors.Is(err, exec.ErrWaitDelay):
		return fmt.Errorf("%s has left something behind that holds its output open", name)
	case exited && !exit.Exited(), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s was stopped: it did not end within %s, wrote more than %d bytes, or was killed", name, processTimeout, maxProcessOutput)
	case exited:
		return fmt.Errorf("%s failed with %w", name, exit)
	case syntax || mistyped:
		return fmt.Errorf("%s wrote something beside the JSON that AWS describes", name)
	default:
		return fmt.Errorf("%s gave no usable credentials: Version 1, AccessKeyId and SecretAccessKey are needed", name)
	}
}
