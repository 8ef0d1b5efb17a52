package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"kproxy/internal/admin"
	"kproxy/internal/foreign"
)

func newUpgradeCommand() *cobra.Command {
	var f adminFlags
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Have a running kproxy hand over to the program on disk",
		Long: `upgrade asks the admin server of a running kproxy to start the program that is on
disk now, with the configuration that is on disk now, and to hand over its listening
sockets (POST /-/upgrade). No connection is refused. The new process serves when it
is ready; then the sessions of the old one end, spread over its drain.timeout.

It ends with 0 when the new process serves. It ends with 1 if the hand-over is
refused, or if the new process does not become ready; then nothing has changed, and
stderr has the reasons. On Windows, and in containers, kproxy refuses, and names
another way.

It also ends with 1 if it has asked, and there is no response within --timeout, or the
connection ends. Then the result is not known: the hand-over goes on without the
command, and kproxy's log has its result. See there before you ask again.

The admin server must have a token (admin.token_file), at a loopback address too.
The default of --admin follows the environment variables of the admin server if they
are set, as in the server's own container: KPROXY_ADMIN_BIND, KPROXY_ADMIN_TLS_CERT
and KPROXY_ADMIN_TOKEN_FILE.`,
		Example: `  kproxy upgrade --token-file t
  kproxy upgrade --admin https://kproxy.internal:9400 --ca ca.pem --token-file t`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.use(cmd.Context(), func(ctx context.Context, client *adminClient) error {
				result, err := client.upgrade(ctx)
				if err != nil {
					return err
				}
				return printUpgraded(cmd.OutOrStdout(), result)
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	f.addAddress(flags)
	f.addAccess(flags, "`FILE` with the token of admin.token_file", admin.UpgradeTimeout)
	return cmd
}

// unknownResult follows the error of a request that was sent and has no response.
const unknownResult = `the result is not known: kproxy goes on with a hand-over that it has begun. Its log has "handed over", or "the new process did not take over", with the reasons; in /metrics, kproxy_handover_timestamp_seconds is the time at which the process that serves took over`

// upgrade asks for a hand-over. The error has every reason.
func (a *adminClient) upgrade(ctx context.Context) (*admin.Upgraded, error) {
	u := a.base.JoinPath("-", "upgrade")
	var asked atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { asked.Store(true) }})
	body, err := a.change(ctx, u, u, []int{http.StatusConflict, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
		"cannot hand over: it is a kproxy demo, or it is older than this one; restart it")
	if silent, ok := errors.AsType[*unreachableError](err); ok && asked.Load() {
		return nil, fmt.Errorf("%w\n%s", silent.error, unknownResult)
	}
	if err != nil {
		return nil, err
	}
	result := &admin.Upgraded{}
	if err := json.Unmarshal(body, result); err != nil || result.PID <= 0 {
		return nil, notKproxy(u, http.StatusOK)
	}
	result.Version = foreign.Line(a.said(result.Version))
	return result, nil
}

func printUpgraded(w io.Writer, r *admin.Upgraded) error {
	drain := time.Duration(r.DrainFor * float64(time.Second)).Round(time.Second)
	_, err := fmt.Fprintf(w, "process %d serves, version %s; the old process ends %s within %v\n", r.PID, r.Version, count(r.Sessions, "session"), drain)
	return err
}
