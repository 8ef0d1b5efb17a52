package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"kproxy/internal/admin"
	"kproxy/internal/foreign"
)

const (
	// reloadTimeout is how long the admin server may take: it reads files, and waits for
	// reloads that came before.
	reloadTimeout = 2 * time.Minute

	maxReloadBody = 8 << 20 // bytes of a response: maxDifferences long differences
)

// reloadFlags are the flags of reload.
type reloadFlags struct {
	adminFlags

	dryRun, live bool
}

func newReloadCommand() *cobra.Command {
	var f reloadFlags
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a running kproxy apply its configuration file",
		Long: `reload asks the admin server of a running kproxy to read its configuration file
again and to apply it (POST /-/reload). It prints the differences: + for a key that
is added, - for one that is removed, ~ for one that changes.

It ends with 0 if the configuration is applied, and with 1 if it has a mistake, with
every mistake on stderr. Then nothing changes. With --dry-run, nothing changes in any
case, and the listeners that would be closed are named with their sessions. With
--live, brokers that do not respond, and addresses that do not lead to kproxy, are
mistakes too.

The default of --admin follows the environment variables of the admin server if they
are set, as in the server's own container: KPROXY_ADMIN_BIND, KPROXY_ADMIN_TLS_CERT
and KPROXY_ADMIN_TOKEN_FILE.`,
		Example: `  kproxy reload --dry-run
  kproxy reload --live
  kproxy reload --admin https://kproxy.internal:9400 --ca ca.pem --token-file t`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	f.addAddress(flags)
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the differences and the mistakes, and change nothing")
	flags.BoolVar(&f.live, "live", false, "first try the brokers and the advertised addresses, as check --live does; a fault is a mistake")
	f.addAccess(flags, "`FILE` with the token of admin.token_file", reloadTimeout)
	return cmd
}

// run is the command.
func (f *reloadFlags) run(ctx context.Context, stdout io.Writer) error {
	return f.use(ctx, func(ctx context.Context, client *adminClient) error {
		result, err := client.reload(ctx, f.dryRun, f.live)
		if err != nil {
			return err
		}
		return printReloaded(stdout, result, f.dryRun)
	})
}

// reload asks for a reload. The error has every mistake of the configuration.
func (a *adminClient) reload(ctx context.Context, dryRun, isLive bool) (*admin.Reloaded, error) {
	u := a.base.JoinPath("-", "reload")
	asked, query := *u, url.Values{}
	if dryRun {
		query.Set("dry_run", "true")
	}
	if isLive {
		query.Set("check", "live")
	}
	asked.RawQuery = query.Encode()
	body, err := a.change(ctx, u, &asked, []int{http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
		"cannot reload its configuration: it runs without a file, as kproxy demo does, or it is older than this one")
	if err != nil {
		return nil, err
	}
	result := &admin.Reloaded{}
	if err := json.Unmarshal(body, result); err != nil || result.Generation <= 0 {
		return nil, notKproxy(u, http.StatusOK)
	}
	for i := range result.Changes {
		c := &result.Changes[i]
		c.Key, c.Was, c.Now = a.said(c.Key), a.said(c.Was), a.said(c.Now)
	}
	return result, nil
}

// change asks for a change, and returns the body of a response 200. Errors name u, which is asked
// without its query. The body of the refusals has mistakes. cannot completes the sentence about a
// kproxy that does not have the path.
func (a *adminClient) change(ctx context.Context, u, asked *url.URL, refusals []int, cannot string) ([]byte, error) {
	resp, err := a.do(ctx, http.MethodPost, asked)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReloadBody))
	if err != nil {
		return nil, a.unreachable(u, err)
	}
	switch status := resp.StatusCode; {
	case status == http.StatusOK:
		return body, nil
	case slices.Contains(refusals, status):
		var mistakes admin.Mistakes
		if err := json.Unmarshal(body, &mistakes); err != nil || len(mistakes.Errors) == 0 || slices.Contains(mistakes.Errors, nil) {
			return nil, notKproxy(u, status)
		}
		return nil, a.notApplied(mistakes.Errors)
	case status == http.StatusUnauthorized:
		return nil, a.unauthorized(u)
	case status == http.StatusForbidden, status == http.StatusMisdirectedRequest:
		return nil, fmt.Errorf("%s responds %d: %s", u, status, foreign.LineOf(a.refusal(body), maxReason))
	case status == http.StatusNotFound:
		return nil, fmt.Errorf("%s responds 404: the kproxy there %s", u, cannot)
	default:
		return nil, notKproxy(u, status)
	}
}

// notApplied has a line for each mistake, up to maxMistakes.
func (a *adminClient) notApplied(all []*admin.MistakeError) error {
	var errs []error
	for i, m := range all {
		if i == maxMistakes+1 {
			errs = append(errs, fmt.Errorf("%d more mistakes", len(all)-i))
			break
		}
		errs = append(errs, errors.New(foreign.LineOf(a.said(m.Error()), maxErrorLine)))
	}
	return errors.Join(errs...)
}

// printReloaded writes the differences, and a line about the result.
func printReloaded(w io.Writer, r *admin.Reloaded, dryRun bool) error {
	if err := printDifferences(w, r.Changes[:min(len(r.Changes), maxDifferences)]); err != nil {
		return err
	}
	changes := len(r.Changes) + r.LeftOut
	if r.LeftOut > 0 {
		if _, err := fmt.Fprintf(w, "  and %d more\n", r.LeftOut); err != nil {
			return err
		}
	}
	for i, l := range r.Removes {
		if i == maxReasons {
			break
		}
		form := "closes listener %s of cluster %s, with %s\n"
		if dryRun {
			form = "would close listener %s of cluster %s, with %s\n"
		}
		if _, err := fmt.Fprintf(w, form, foreign.Line(l.Listener), foreign.Line(l.Cluster), count(l.Sessions, "session")); err != nil {
			return err
		}
	}
	var err error
	switch {
	case dryRun:
		_, err = fmt.Fprintf(w, "dry run: %s, nothing has changed\n", count(changes, "difference"))
	case changes == 0:
		_, err = fmt.Fprintf(w, "no difference: generation %d stays in use\n", r.Generation)
	default:
		_, err = fmt.Fprintf(w, "reloaded: %s, generation %d is in use\n", count(changes, "difference"), r.Generation)
	}
	return err
}
